"""Other agents, elsewhere: look at the card of one, and hand a task to it (Agent2Agent protocol)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from msgspec.structs import replace
from pydantic import Field

from superagent.core.audit import AuditRecord
from superagent.core.changes import to_its_end
from superagent.core.execution import STOPS
from superagent.core.leaks import without_keys
from superagent.features.agents import following
from superagent.features.agents.following import Handed
from superagent.features.agents.model import ASKS, Artifact, Carded, Delegated, Skill
from superagent.sdk import (
    Conflict,
    Connected,
    Connection,
    Context,
    Deadline,
    Effect,
    EffectNote,
    Fix,
    Grant,
    InvalidInput,
    Locked,
    NotFound,
    Plugin,
    Preview,
    Resource,
    Risk,
    Unavailable,
    neutral_line,
)

TYPE = "a2a"
MOST_S = 3600
_BEFORE_S = 15.0
_MOST_SKILLS = 50

Task = Annotated[str, Field(max_length=100_000, description="the task in words")]
Data = Annotated[dict[str, Any] | None, Field(description="the task as data, for agents that take some")]
Only = Annotated[list[Grant], Field(max_length=20, description="lend it a key that may do this, here, until it ends")]
Patience = Annotated[int, Field(ge=1, le=MOST_S, description="seconds; then it is cancelled")]
Budget = Annotated[
    dict[str, int | float] | None,
    Field(max_length=20, description="what the key on loan may cost, as for `access.delegate`"),
]
Earlier = Annotated[str, Field(max_length=26, description="the invocation of a delegation that asks for something")]


class Keys(Protocol):
    """Where keys end."""

    def revoke(self, tenant: str, id: str, why: str = "") -> Awaitable[None]:
        """End a key now. Raises `NotFound`."""
        ...


def plugin(keys: Keys, address: Callable[[], str], note: Callable[[AuditRecord], None], told: following.Told) -> Plugin:
    """Make the plugin; `address` gives that of this server, for the agents that are lent a key to it.

    `told` gives the events of an invocation.
    """
    agents = Plugin("agents", reaches=("net", "secret"))

    @agents.operation(risk=Risk.LOW, effect=Effect.READ, returns_untrusted="always")
    async def card(ctx: Context, agent: Connection) -> Carded:
        """Ask another agent for its card, check the signature, and compare it with the one that was pinned.

        A person who believes it pins it: `connections.update` with `options: {"card": DIGEST, "signer": SIGNER}`.
        """
        connected, _ = await _connected(ctx, agent, secret=False)
        found = await _library().fetch(ctx.net.http, connected.endpoint, [])
        return _shown(connected, found)

    @agents.operation(
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        background=True,
        sends=True,
        returns_untrusted="always",
        timeout_s=MOST_S + 60.0,
        resumes=True,
        irreversible="what another agent did, it alone can undo; what it did here with a lent key, undo as calls of it",
    )
    async def delegate(
        ctx: Context,
        agent: Connection,
        task: Task = "",
        data: Data = None,
        only: Only = [],  # noqa: B006 - never changed
        timeout_s: Patience = 600,
        continues: Earlier = "",
        budget: Budget = None,
    ) -> Delegated:
        """Hand a task to another agent, and follow it as a job until it is over or asks for something.

        `only` lends it a key of this platform that may do no more than that, and no more than you, and cost no more
        than `budget`: it ends with this call. Cancelling the job cancels the task; after a crash of this platform the
        job looks for its task and goes on. `continues` answers what an earlier delegation asks for.
        """
        _check(task, data, only, budget)
        connected, headers = await _connected(ctx, agent)
        library = _library()
        found = await library.fetch(ctx.net.http, connected.endpoint, [])
        _require_pinned(ctx, connected, found, note)
        before = await _earlier(ctx, agent, continues) if continues else ("", "")
        patience = float(timeout_s)
        if ctx.remaining_s is not None:
            patience = min(patience, ctx.remaining_s - _BEFORE_S)
            if patience <= 0:
                raise Deadline(f"a delegation needs more than {_BEFORE_S:g} s until its deadline")
        handed = await following.noted(ctx, told) or Handed(agent, until=ctx.now + patience)
        async with (
            _lent(ctx, keys, address, connected, only, budget, patience, handed.lent) as lent,
            library.talking(ctx.net.http, agent, connected.endpoint, headers, found) as talk,
        ):
            if not handed.sent:
                handed = replace(handed, sent=True, lent=lent["id"] if lent else "")
                await following.note(ctx, handed)  # durable before it is sent: it is never handed over twice
                seen = await talk.send(ctx.invocation.id, task, data, lent, task=before[0], context=before[1])
                handed = replace(handed, task=seen.task, context=seen.context)
            elif handed.task:
                seen = library.Seen("submitted", handed.task, handed.context, "", [])
            else:
                raise Unavailable(
                    f"the platform ended while it handed the task to `{agent}`: nobody knows whether it arrived",
                    hint="look there before you hand it over again", changed="unknown",
                )  # fmt: skip
            if seen.task:
                place = _place(ctx, agent, seen.task)
                ctx.effects.append(EffectNote(place.id, place.effect.name))
                await following.note(ctx, handed)
            seen = await following.followed(ctx, talk, seen, max(handed.until - ctx.now, 0.0))
        made = [Artifact(**one) for one in seen.artifacts]
        return Delegated(
            agent=agent, state=seen.state, task=seen.task, context=seen.context, said=seen.words, artifacts=made,
            lent=handed.lent,
        )  # fmt: skip

    @delegate.preview
    async def _(
        ctx: Context,
        agent: Connection,
        task: Task = "",
        data: Data = None,
        only: Only = [],  # noqa: B006 - never changed
        timeout_s: Patience = 600,
        continues: Earlier = "",
        budget: Budget = None,
    ) -> Preview:
        _check(task, data, only, budget)
        connected, _ = await _connected(ctx, agent, secret=False)
        lends = f", and lend it a key with {len(only)} grants" if only else ""
        pinned = connected.options.get("card", "")[:12] or "none, so it would be refused"
        return Preview(
            summary=f"would hand a task to `{agent}` at {connected.host}{lends}; its pinned card is {pinned}",
            changes=[f"a2a://{agent.replace('/', '%2F')}/"],
            diff=neutral_line(task)[:4000],
            exact=False,
            expects=["access.delegate"] if only else [],
        )

    return agents


def _library() -> Any:
    """Give what speaks the protocol: it is an extra, and loaded when somebody asks for it."""
    try:
        from superagent.runtime.a2a_client import talk
    except ModuleNotFoundError as missing:
        raise Unavailable(
            f"other agents need a package that is not installed (`{missing.name}`)",
            hint="install it with `pip install 'superagent[a2a]'` and start anew",
        ) from None
    return talk


def _place(ctx: Context, agent: str, task: str) -> Resource:
    """Name a task for the record. Raises `Unavailable` for one called like a secret, or a key, that was shown."""
    redactor = ctx.redactor
    hidden = redactor.text(task) if redactor is not None else task
    if hidden != task or without_keys(task.encode(), lambda key: None) != task.encode():
        raise Unavailable(f"`{agent}` gave a task whose name is a secret", changed="unknown")
    return Resource("a2a", agent.replace("/", "%2F"), task, Effect.CHANGE)


def _check(task: str, data: dict[str, Any] | None, only: list[Grant], budget: Budget) -> None:
    if budget and not only:
        raise InvalidInput("a budget is that of a key on loan", hint="say in `only` what the key may do")
    if not task.strip() and data is None:
        raise InvalidInput("nothing is handed over", hint="say it in `task`, or as `data`")


async def _connected(ctx: Context, name: str, *, secret: bool = True) -> tuple[Connected, list[tuple[str, str]]]:
    """Give a connection to an agent, and with `secret` the header that opens it."""
    connected = await ctx.secret.connection(name)
    if connected.type != TYPE:
        raise InvalidInput(f"`{name}` is no agent", hint=f"`connections.create` one of the type `{TYPE}`")
    header = await ctx.secret.header(name) if secret and connected.secret else None
    return connected, [(header.header, header.value.reveal())] if header else []


def _require_pinned(ctx: Context, connected: Connected, found: Any, note: Callable[[AuditRecord], None]) -> None:
    """Go on only with the card that a person pinned. Raises `Conflict`, `Locked`."""
    look = Fix("agents.card", {"agent": connected.name})
    pinned, signer = connected.options.get("card", ""), connected.options.get("signer", "")
    if not pinned:
        raise Conflict(
            f"nobody has pinned the card of `{connected.name}` yet",
            hint="a person looks at it by `agents.card`, and pins it by `connections.update`", fix=look,
        )  # fmt: skip
    why = ""
    if found.digest != pinned:
        why = "its card is another one than was pinned"
    elif signer and found.signer != signer:
        why = "its card is not signed by the key that was pinned"
    elif found.signature == "invalid":
        why = "the signature of its card does not hold"
    if why:
        detail = {
            "agent": connected.name, "why": why, "pinned": pinned, "now": found.digest, "signature": found.signature,
            "signer": found.signer,
        }  # fmt: skip
        principal = ctx.principal
        note(
            AuditRecord(
                kind="refused", at=ctx.now, invocation=ctx.invocation.id, tenant=principal.tenant, who=principal.id,
                chain_of=principal.ids, channel=ctx.invocation.channel, operation="agents.changed", problem="locked",
                detail=detail,
            )
        )  # fmt: skip
        raise Locked(
            f"nothing is handed to `{connected.name}`: {why}",
            hint="a person looks at it by `agents.card`, and pins it anew by `connections.update`", fix=look,
        )  # fmt: skip


async def _earlier(ctx: Context, agent: str, id: str) -> tuple[str, str]:
    """Give task and context of a delegation of the caller's that asks. Raises `NotFound`, `Conflict`.

    The agent's own names for tasks are taken from the record and from nobody: several may share one connection.
    """
    told: dict[str, Any] = await ctx.call("jobs.status", {"id": id})
    outcome: dict[str, Any] = told.get("outcome") or {}
    output: dict[str, Any] = outcome.get("output") or {}
    if told.get("operation") != "agents.delegate" or output.get("agent") != agent:
        raise NotFound(f"`{id}` is no delegation to `{agent}`")
    if told.get("owner") not in (None, ctx.principal.id):
        raise NotFound(f"`{id}` is no delegation of yours")
    if output.get("state") not in ASKS:
        raise Conflict(f"`{id}` asks for nothing", hint="delegate a new task, without `continues`")
    return output["task"], output["context"]


@asynccontextmanager
async def _lent(
    ctx: Context,
    keys: Keys,
    address: Callable[[], str],
    connected: Connected,
    only: list[Grant],
    budget: Budget,
    for_s: float,
    earlier: str,
) -> AsyncGenerator[dict[str, Any] | None]:
    """Lend a key with these grants within a block; it is ended with it, whatever happens, unless the platform stops.

    `earlier` is one that was lent before it stopped.
    """
    if earlier:
        async with _ending(ctx, keys, earlier):
            yield None
        return
    if not only:
        yield None
        return
    split = urlsplit(connected.endpoint)
    if split.scheme != "https" and not _loopback(split.hostname or ""):
        raise InvalidInput("a key must not travel in clear", hint="use an `https` endpoint, or lend nothing")
    to = address()
    bounds = [one.model_dump(mode="json", exclude_defaults=True) for one in only]
    asked = {"name": _label(connected.name), "only": bounds, "expires_s": int(for_s) + 60}
    made = await ctx.call("access.delegate", asked | ({"budget": budget} if budget else {}))
    async with _ending(ctx, keys, made["id"]):
        yield {"id": made["id"], "url": to, "key": made["key"]}


@asynccontextmanager
async def _ending(ctx: Context, keys: Keys, id: str) -> AsyncGenerator[None]:
    try:
        yield
    except asyncio.CancelledError as cut:
        if cut.args == (STOPS,):  # the task goes on without us, and so does this call at the next start
            raise
        await _end(ctx, keys, id)
        raise
    except BaseException:
        await _end(ctx, keys, id)
        raise
    await _end(ctx, keys, id)


async def _end(ctx: Context, keys: Keys, id: str) -> None:
    with suppress(NotFound):  # it was ended already: by a person, or because the agent showed it to somebody
        await to_its_end(keys.revoke(ctx.tenant, id, f"{ctx.invocation.id} has ended"))


def _label(name: str) -> str:
    return "-".join(part for part in "".join(c if c.isalnum() and c.isascii() else " " for c in name.lower()).split())[
        :40
    ]


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(connected: Connected, found: Any) -> Carded:
    pinned = connected.options.get("card", "")
    signer = connected.options.get("signer", "")
    same = found.digest == pinned and found.signature != "invalid" and signer in ("", found.signer)
    skills = [
        Skill(
            id=neutral_line(one.id)[:200],
            name=neutral_line(one.name)[:200],
            description=neutral_line(one.description)[:500],
        )
        for one in found.parsed.skills[:_MOST_SKILLS]
    ]
    return Carded(
        agent=connected.name,
        state="pinned" if same else "changed" if pinned else "unpinned",
        digest=found.digest,
        pinned=pinned,
        signature=found.signature,
        signer=found.signer,
        name=neutral_line(found.parsed.name)[:200],
        description=neutral_line(found.parsed.description)[:2000],
        skills=skills,
    )
