"""Asked: everything that a hosted plugin can ask for within a call, each judged by the context of that very call."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec

from superagent.core.commands import Command
from superagent.core.problems import Conflict, InvalidInput
from superagent.core.resources import Effect, Resource, canonical, canonical_name, canonical_path
from superagent.hosted.reaches import MAX_BYTES
from superagent.runtime.hosted.call import Abandoned, Asked, Open, Served

S = TypeVar("S", bound=msgspec.Struct)
READS = {"GET", "HEAD", "OPTIONS"}
MOST_OPEN = 16

METHODS: dict[str, Asked] = {}


class _About(msgspec.Struct, forbid_unknown_fields=True):
    resource: tuple[str, str, str, int]

    def given(self, served: Served) -> Resource:
        """Give the resource in its one spelling: what a plugin writes is no name that was judged."""
        kind, authority, path, effect = self.resource
        where, canonical_one = canonical(kind, path, served.ctx.principal.workspace)
        return Resource(
            kind, where if kind in ("path", "host") else canonical_name(authority), canonical_one, Effect(effect)
        )


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    operation: str
    input: dict[str, Any] = {}


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    event: Any


class _Close(msgspec.Struct, forbid_unknown_fields=True):
    handle: int
    failed: bool
    theirs: bool


class _Keep(msgspec.Struct, forbid_unknown_fields=True):
    resource: tuple[str, str, str, int]
    data: dict[str, Any]


class _PutBack(msgspec.Struct, forbid_unknown_fields=True):
    entry: int


class _Path(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    offset: int = 0
    max_bytes: int = MAX_BYTES
    data: str = ""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    url: str
    headers: list[tuple[str, str]]
    content: str
    follow: int
    max_bytes: int
    timeout_s: float


class _Secret(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    host: str = ""
    job: str = ""


def _method(name: str, kind: type[S]) -> Callable[[Callable[[Served, S], Awaitable[Any]]], None]:
    """Offer a method whose parameters have this shape."""

    def offer(function: Callable[[Served, S], Awaitable[Any]]) -> None:
        async def run(served: Served, given: dict[str, Any]) -> Any:
            return await function(served, msgspec.convert(given, kind))

        METHODS[name] = run

    return offer


# ---- judging


@_method("may", _About)
async def _(served: Served, given: _About) -> bool:
    return served.ctx.may(given.given(served))


@_method("sees", _About)
async def _(served: Served, given: _About) -> bool:
    return served.ctx.sees(given.given(served))


@_method("require", _About)
async def _(served: Served, given: _About) -> None:
    served.ctx.require(given.given(served))


@_method("could", _Named)
async def _(served: Served, given: _Named) -> bool:
    return served.ctx.could(given.operation)


# ---- changing


@_method("change.open", _About)
async def _(served: Served, given: _About) -> dict[str, Any]:
    resource = given.given(served)
    served.within("changing", resource.effect)
    if resource.effect == Effect.READ:
        raise InvalidInput("a change is of the effect CHANGE or DESTROY")
    if resource.kind != "path":  # a digest of anything else could tell what it is of
        raise served.refused("changing", "hosted plugins change files only, and by other operations all else")
    served.about("changing", resource.path)
    if len(served.changes) >= MOST_OPEN:
        raise Conflict(f"more than {MOST_OPEN} changes are open", hint="end one before the next")
    manager = served.ctx.changing(resource)
    change = await manager.__aenter__()
    served.changes[change.entry] = Open(manager, change, resource)
    return {"handle": change.entry, "before": change.kept_digest}


@_method("change.close", _Close)
async def _(served: Served, given: _Close) -> None:
    opened = served.changes.get(given.handle)
    if opened is None:
        raise served.refused("change.close", "this change belongs to another call, or is closed")
    if opened.busy:  # what is still being written would be part of no change any more
        raise served.refused("change.close", "this change is still being made")
    del served.changes[given.handle]
    if not given.failed:
        await opened.manager.__aexit__(None, None, None)
        return
    if given.theirs and not opened.written:  # of what it wrote itself no plugin says that somebody else did
        opened.change.untouched()
    try:
        await opened.manager.__aexit__(Abandoned, Abandoned(), None)
    except Abandoned:
        return


@_method("keep", _Keep)
async def _(served: Served, given: _Keep) -> dict[str, Any]:
    resource = _About(given.resource).given(served)
    served.within("keep", resource.effect)
    if resource.kind == "path":
        served.about("keep", resource.path)
    served.ctx.require(resource)
    change = await served.ctx.keep(resource, given.data)
    return {"entry": change.entry}


@_method("put_back", _PutBack)
async def _(served: Served, given: _PutBack) -> None:
    if served.kept is None or served.kept.id != given.entry:
        raise served.refused("put_back", "only an undo puts back, and only what it was given")
    await served.ctx.put_back(served.kept)


@_method("state_of", _About)
async def _(served: Served, given: _About) -> str | None:
    resource = given.given(served)
    if resource.kind != "path":
        raise served.refused("state_of", "hosted plugins are told the state of files only")
    served.ctx.require(resource.as_(Effect.READ))
    return await served.ctx.state_of(resource)


# ---- calling, telling


@_method("call", _Named)
async def _(served: Served, given: _Named) -> Any:
    served.may_call(given.operation)
    return await served.ctx.call(given.operation, given.input)


@_method("emit", _Event)
async def _(served: Served, given: _Event) -> None:
    served.tell(given.event)
    await served.ctx.emit(msgspec.convert(given.event, dict[str, Any]))


@_method("event", _Event)
async def _(served: Served, given: _Event) -> None:
    if not served.ctx.operation.stream:
        raise served.refused("event", "only a stream gives events")
    served.tell(given.event)
    await served.event(given.event)


# ---- files


@_method("files.read", _Path)
async def _(served: Served, given: _Path) -> str:
    path = _path(served, "files.read", given.path)
    data = await served.reach("files").read(path, offset=given.offset, max_bytes=given.max_bytes)
    return base64.b64encode(data).decode("ascii")


@_method("files.list", _Path)
async def _(served: Served, given: _Path) -> Any:
    found = await served.reach("files").list(_path(served, "files.list", given.path))
    return msgspec.to_builtins(found)


@_method("files.write", _Path)
async def _(served: Served, given: _Path) -> None:
    path, opened = _changed(served, "files.write", given.path, Effect.CHANGE)
    data = base64.b64decode(given.data, validate=True)
    opened.written, opened.busy = True, opened.busy + 1
    try:
        await served.reach("files").write(path, data)
    finally:
        opened.busy -= 1


@_method("files.delete", _Path)
async def _(served: Served, given: _Path) -> None:
    path, opened = _changed(served, "files.delete", given.path, Effect.DESTROY)
    opened.written, opened.busy = True, opened.busy + 1
    try:
        await served.reach("files").delete(path)
    finally:
        opened.busy -= 1


def _path(served: Served, what: str, path: str) -> str:
    canonical = canonical_path(path, served.ctx.principal.workspace)
    served.about(what, canonical)
    return canonical


def _changed(served: Served, what: str, path: str, effect: Effect) -> tuple[str, Open]:
    """Give the canonical path and the open change that covers it: nothing is changed that was not kept before."""
    canonical = _path(served, what, path)
    served.within(what, effect)
    for opened in served.changes.values():
        if opened.resource.kind == "path" and opened.resource.path == canonical and opened.resource.effect >= effect:
            return canonical, opened
    raise served.refused(what, "nothing is changed outside of `ctx.changing`")


# ---- network, commands, secrets


@_method("net.request", _Request)
async def _(served: Served, given: _Request) -> dict[str, Any]:
    net = served.reach("net")
    served.within("net.request", Effect.READ if given.method in READS else Effect.CHANGE)
    served.outside = served.outside or given.method not in READS
    answer = await net.http.request(
        given.method,
        given.url,
        headers=given.headers,
        content=base64.b64decode(given.content, validate=True),
        follow=given.follow,
        max_bytes=min(given.max_bytes, MAX_BYTES),
        timeout_s=given.timeout_s,
    )
    body = base64.b64encode(answer.body).decode("ascii")
    return {"status": answer.status, "headers": answer.headers, "url": answer.url, "body": body}


@_method("run.run", _Event)
async def _(served: Served, given: _Event) -> Any:
    reach = served.reach("run")
    served.within("run", Effect.CHANGE)
    plain = cast("dict[str, Any]", given.event)
    for name in ("script", "stdin"):
        plain[name] = base64.b64decode(plain[name], validate=True)
    served.outside = True
    ran = await reach.run(Command(**plain))
    return msgspec.to_builtins(ran)


@_method("secret.candidates", _Secret)
async def _(served: Served, given: _Secret) -> Any:
    served.process.spent = True
    return [one.reveal() for one in await served.reach("secret").candidates(given.name, host=given.host, job=given.job)]


@_method("secret.header", _Secret)
async def _(served: Served, given: _Secret) -> Any:
    served.process.spent = True
    found = await served.reach("secret").header(given.name)
    return {"host": found.host, "header": found.header, "value": found.value.reveal()}


@_method("secret.connection", _Secret)
async def _(served: Served, given: _Secret) -> Any:
    return msgspec.to_builtins(await served.reach("secret").connection(given.name))
