"""Context: all that an operation's implementation may do, and the record of what it changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from superagent.core.asking import Asking
from superagent.core.changes import FOLDER, RIGHTS, Change, Keep, resource_of, to_its_end
from superagent.core.connections import SecretReach
from superagent.core.containment import Isolation
from superagent.core.invocation import CHANGED, EffectNote, Invocation, Ticket, shown_in
from superagent.core.judging import Judging, Line
from superagent.core.leaks import without_keys
from superagent.core.operation import Operation
from superagent.core.outright import named_outright
from superagent.core.policy import Decision, Policy
from superagent.core.ports import Hands, Keeper, Kept
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Internal, NotFound, Problem, Unavailable
from superagent.core.reached import FileReach, NetReach
from superagent.core.redactor import Redactor, cleaned, present
from superagent.core.resources import Effect, Resource

T = TypeVar("T")
UNDO_KEPT_S = 7 * 86_400.0


class Context(Asking, Judging):
    """What one call may do. Methods take and return data or descriptors, so a plugin can run in another process."""

    __slots__ = (
        "_asked",
        "_caps",
        "_hands",
        "_judged",
        "_known_facts",
        "_line",
        "_policy",
        "_told",
        "asks",
        "changed",
        "cost",
        "effects",
        "found",
        "isolation",
        "led",
        "notes",
        "operation",
        "reached",
        "source",
        "state",
        "ticket",
    )

    def __init__(self, ticket: Ticket, policy: Policy, hands: Hands, line: Line) -> None:
        self.ticket = ticket
        self.operation: Operation = ticket.operation
        self.effects: list[EffectNote] = []
        self.notes: list[int] = []  # what it keeps itself of its changes: of those, its end says that they happened
        self.asks: Ticket | None = None  # a call within it that needs a person
        self.found: list[Resource] = []  # what it touches besides what the input names, and what needs a person
        self.reached: list[Resource] = []  # hosts that it was let to, by ways that have no record of their own
        self.changed = False  # a call within it has done something
        self.isolation: Isolation | None = None  # how what the operation ran was contained
        self.cost: dict[str, float] | None = None
        self.led: tuple[Resource, ...] = ()  # where connections that the input names lead by the platform's own record
        self.source = ""  # where the text that it gives came from, if an operation knows that it is untrusted
        self.state: Hashable | None = None  # in which it was read, if whatever changes it later changes that (`reads`)
        self._asked: tuple[Resource, ...] | None = None
        self._known_facts = ticket.facts
        self._policy = policy
        self._hands = hands
        self._line = line
        self._judged = ticket.operation
        self._caps: dict[str, Any] = {}
        self._told: dict[Resource, bool] = {}

    @property
    def invocation(self) -> Invocation:
        """Give the call this context belongs to."""
        return self.ticket.invocation

    @property
    def principal(self) -> Principal:
        """Give who acts."""
        return self.ticket.invocation.principal

    @property
    def tenant(self) -> str:
        """Give the tenant in which everything happens."""
        return self.ticket.invocation.principal.tenant

    @property
    def decision(self) -> Decision:
        """Give the decision that let this call happen."""
        return self.ticket.decision

    @property
    def now(self) -> float:
        """Give epoch seconds."""
        return self._hands.clock.now()

    @property
    def remaining_s(self) -> float | None:
        """Give the seconds left until the deadline; None when there is none."""
        deadline = self.invocation.deadline
        return None if deadline is None else max(0.0, deadline - self._hands.clock.monotonic())

    # ---- judging

    def named(self, argument: str, value: str) -> bool:
        """Tell whether grants name a value of an argument outright, and allow this call with nothing around it."""
        return named_outright(self._policy, self.ticket, self._facts, argument, value)

    def stands(self) -> None:
        """Go on only while the permission of this call stands, also after it has ended. Raises `Denied`."""
        self._line.stands(self.ticket)

    def root_of(self, path: str) -> str:
        """Give the deepest granted folder that contains a path."""
        return self._policy.root_of(self.principal, self._judged, path)

    def could(self, operation: str) -> bool:
        """Tell whether some call of another operation could be allowed to this principal."""
        found = self._line.find(operation)
        return found is not None and self._policy.may_try(self.principal, found)

    @property
    def judged(self) -> Operation:
        """Give the operation by whose grants this call is judged: its own, or what it takes back."""
        return self._judged

    def judged_as(self, operation: str) -> Context:
        """Give this call judged by the grants for another operation: undo needs the rights of what it takes back.

        Raises `NotFound` when that operation is not installed.
        """
        found = self._line.find(operation)
        if found is None:
            raise NotFound(f"`{operation}` is not installed any more", hint="install its plugin again, then undo")
        facts = replace(self._facts, risk=max(found.risk, self._facts.risk))
        other = Context(self.ticket, self._policy, self._hands, self._line)
        other.effects, other.notes = self.effects, self.notes
        other.found, other.reached = self.found, self.reached
        other._judged, other._known_facts = found, facts
        return other

    # ---- changing

    @asynccontextmanager
    async def changing(self, what: str | Resource, effect: Effect = Effect.CHANGE) -> AsyncGenerator[Change]:
        """Keep what stands at a resource, durable before the effect, then let the body change it.

        If the body fails and the resource is as before, nothing happened and the kept entry is dropped; if not, the
        entry stays and the problem says `changed: partly`.
        """
        resource = Resource("path", "local", what, effect) if isinstance(what, str) else what
        keeper = self._keeper(resource.kind)
        if self.invocation.call.dry_run:
            raise Internal("a preview must change nothing")
        self.require(resource)
        wait_s = min(5.0, self.remaining_s if self.remaining_s is not None else 5.0)
        async with self._hands.locks.hold(self.tenant, resource.id, wait_s):
            data, before, size = await keeper.keep(self, resource)
            data = self._with_rights(data | {FOLDER: True} if resource.folder else data)
            entry = await self._hands.undo.add(self._kept(resource, data, before, size))
            change = Change(resource, entry, before)
            try:
                yield change
            except BaseException:
                present = before if change.theirs else await keeper.digest(self, resource)
                if present == before:
                    await self._hands.undo.drop(entry)
                else:
                    await to_its_end(self._close(keeper, change, present, data))
                raise
            # the change is made: a call that is cancelled from here on must still say so
            await to_its_end(self._close(keeper, change, change.after_digest, data))

    async def keep(self, resource: Resource, data: dict[str, Any]) -> Change:
        """Keep the operation's own note of how to take a change back, durable before the effect."""
        if self.invocation.call.dry_run:
            raise Internal("a preview must change nothing")
        data = self._with_rights(data)
        entry = await self._hands.undo.add(self._kept(resource, data, None, len(msgspec.json.encode(data))))
        self._changed([(resource, entry)])
        return Change(resource, entry, None)

    @asynccontextmanager
    async def keeping(self, kind: str, effect: Effect = Effect.CHANGE) -> AsyncGenerator[Keep]:
        """Keep the same note in the very transaction that makes the change: both are there, or neither.

        The body hands what it is given to whoever writes to the platform's own database.
        """
        if self.invocation.call.dry_run:
            raise Internal("a preview must change nothing")
        kept: list[tuple[Resource, int]] = []

        def keep(tx: Any, name: str, data: dict[str, Any]) -> None:
            resource, data = Resource(kind, "-", name, effect), self._with_rights(data)
            entry = self._hands.undo.within(self._kept(resource, data, None, len(msgspec.json.encode(data))))(tx)
            kept.append((resource, entry))

        try:
            yield keep
        except BaseException as fault:
            if kept:  # what failed may have come after the change
                await to_its_end(self._left_of(kept, fault))
            raise
        self._changed(kept)

    async def _left_of(self, kept: list[tuple[Resource, int]], fault: BaseException) -> None:
        try:
            there = {one.id for one in await self._hands.undo.of(self.tenant, ids=[self.invocation.id])}
        except Exception:  # who could tell is away
            if isinstance(fault, Problem):
                fault.changed = "unknown"
                return
            there = {entry for _, entry in kept}
        self._changed([one for one in kept if one[1] in there])

    def _changed(self, kept: list[tuple[Resource, int]]) -> None:
        self.notes += [entry for _, entry in kept]
        self.effects += [EffectNote(resource.id, resource.effect.name, None, None) for resource, _ in kept]

    async def put_back(self, kept: Kept) -> None:
        """Make a resource again what it was; the undo of every operation whose changes were kept by `changing`."""
        resource = resource_of(kept)
        await self._keeper(resource.kind).put_back(self, resource, kept.data)

    def require_shown(self, diff: Callable[[], str]) -> None:
        """Go on only if this gives the diff that a person approved, where one has; for what is about to stand there.

        Whoever asked may have changed it since the approval was compared. Raises `Conflict`.
        """
        if self.invocation.shown and shown_in(diff()) != self.invocation.shown:
            raise Conflict(CHANGED, hint="ask again; the approver sees the new effect")

    async def kept_of(self, resource: Resource) -> list[Kept]:
        """Give what was kept of a resource before its changes, newest first. Raises as `require` does."""
        self.require(resource)
        kept = await self._hands.undo.of(self.tenant, limit=10_000)
        return [one for one in reversed(kept) if one.resource == resource.id and one.before is not None]

    async def state_of(self, resource: Resource) -> str | None:
        """Give the digest of a resource's present state; None for kinds that have no keeper."""
        keeper = self._hands.keepers.get(resource.kind)
        return await keeper.digest(self, resource) if keeper else None

    async def preview_of(self, kept: Kept) -> str:
        """Show as a diff what putting a resource back would do; nothing of what the caller may change and not read."""
        resource = resource_of(kept)
        if not self.may(resource.as_(Effect.READ)):
            return ""
        return await self._keeper(resource.kind).preview(self, resource, kept.data)

    # ---- calling, waiting

    async def call(self, operation: str, input: dict[str, Any], /) -> Any:
        """Call another operation through the whole line, as the same principal. Raises its problem."""
        return await self._line.nested(self, operation, input)

    async def thread(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a blocking function in a thread; a cancelled call still waits for it, so no effect happens unseen."""
        return await self._hands.thread(function, *args)

    def spend(self, **amounts: float) -> None:
        """Say what this call has cost so far beside itself: `cpu_s`, `money`. It is shown, and charged to budgets."""
        before = self.cost or {}
        self.cost = before | {measure: before.get(measure, 0.0) + amount for measure, amount in amounts.items()}

    async def emit(self, event: dict[str, Any]) -> None:
        """Store one event on this invocation's stream (`GET /v1/invocations/{id}/events`)."""
        data = without_keys(cleaned(msgspec.json.encode(event)), lambda key: self._hands.leaked(key, self.invocation))
        await self._hands.work.append(self.tenant, self.invocation.id, data)

    async def log(self, text: str, level: str = "info") -> None:
        """Say something about the work beside how far it is; `level` as in RFC 5424, from `debug` to `emergency`."""
        await self.emit({"kind": "log", "level": level, "text": text})

    async def progress(self, text: str, fraction: float | None = None) -> None:
        """Say how far the work is; `fraction` from 0 to 1."""
        await self.emit({"kind": "progress", "text": text, "fraction": fraction})

    async def blob(self, handle: str, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Give an uploaded input whole. Raises `NotFound`, or `Conflict` when it is larger than `max_bytes`."""
        data, size = await self._hands.blobs.read(self.principal, handle, 0, max_bytes)
        if size > len(data):
            raise Conflict(f"`{handle}` has {size} bytes, more than the {max_bytes} that this operation takes")
        return data

    @property
    def redactor(self) -> Redactor | None:
        """Give what knows the secret values of this call; None for operations that hold none.

        What is not given as output or event but stored by the operation itself (a log, a large result) goes through
        `redactor.stream()` first: values must be recognised over the borders of its chunks.
        """
        return present.get()

    # ---- reach

    @property
    def files(self) -> FileReach:
        """Give files beneath the granted roots; only operations that declared the reach `files` have it."""
        return self.reach("files")

    @property
    def secret(self) -> SecretReach:
        """Give the values of secrets; only operations that declared the reach `secret` have it."""
        return self.reach("secret")

    @property
    def net(self) -> NetReach:
        """Give connections by name; only operations that declared the reach `net` have them."""
        return self.reach("net")

    def reach(self, name: str) -> Any:
        """Give a capability that the operation declared. Raises `Internal` otherwise: the manifest is the list."""
        found = self._caps.get(name)
        if found is None:
            if name not in self.operation.reaches:
                raise Internal(f"`{self.operation.name}` did not declare that it reaches `{name}`")
            make = self._hands.capabilities.get(name)
            if make is None:
                raise Unavailable(f"this installation has no `{name}`")
            found = self._caps[name] = make(self)
        return found

    # ---- inside

    def _keeper(self, kind: str) -> Keeper:
        keeper = self._hands.keepers.get(kind)
        if keeper is None:
            raise Internal(f"no keeper knows how to keep `{kind}`")
        return keeper

    def _with_rights(self, data: dict[str, Any]) -> dict[str, Any]:
        # an undo is open to everybody; whoever takes it back needs the rights to what it took back itself
        return data if self._judged is self.operation else data | {RIGHTS: self._judged.name}

    def _kept(self, resource: Resource, data: dict[str, Any], before: str | None, size: int) -> Kept:
        now, call = self.now, self.invocation
        return Kept(
            0, self.tenant, call.id, self.operation.name, self.operation.version, self.principal.id, call.call.session,
            resource.id, resource.effect, data, now, now + UNDO_KEPT_S, before,
            parent=call.parent, bytes=size, account=self.principal.account, chain=self.principal.ids,
            callers=call.callers,
        )  # fmt: skip

    async def _close(self, keeper: Keeper, change: Change, after: str | None, data: dict[str, Any]) -> None:
        after, settled = await keeper.settle(self, change.resource, data, after)
        change.after_digest = after
        more = (settled,) if settled != data else ()
        await self._hands.undo.close(self.tenant, self.invocation.id, change.entry, after, *more)
        self.effects.append(EffectNote(change.resource.id, change.resource.effect.name, change.kept_digest, after))
