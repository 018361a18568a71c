"""Catalogue: find out what can be asked for; what an agent loads first instead of hundreds of schemas."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

from superagent.sdk import Context, Effect, Face, InvalidInput, NotFound, Output, Plugin, Risk


class Shelf(Protocol):
    """The registry as one caller may see it."""

    def visible(self, ctx: Context) -> list[Any]:
        """Give the operations the caller could be allowed or asked for, by name."""
        ...

    def search(self, words: str, among: list[Any], limit: int) -> list[Any]:
        """Give those that fit the words best."""
        ...

    def missing(self, ctx: Context, name: str) -> NotFound:
        """Give the problem of a name that means nothing to the caller."""
        ...


class Line(Output):
    """One operation in a list."""

    name: str
    summary: str
    effect: str
    risk: str
    undo: str


class Found(Output):
    """Operations that fit; `cursor` asks for the next page, None on the last."""

    operations: list[Line]
    total: int
    cursor: str | None = None


class Full(Output):
    """Everything about one operation."""

    name: str
    version: int
    plugin: str
    summary: str
    description: str
    effect: str
    risk: str
    scope: str
    takes_back: str
    why: str
    idempotent: bool
    stream: bool
    background: bool
    timeout_s: float
    reaches: list[str]
    touches: list[dict[str, str]]
    preview: bool
    digest: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    examples: list[dict[str, Any]]


class Capability(Output):
    """Something this machine can or cannot do, and the cure."""

    name: str
    available: bool
    detail: str
    cure: str = ""


class Capabilities(Output):
    """What works here."""

    capabilities: list[Capability]


def plugin(shelf: Shelf, probes: Callable[[], Awaitable[list[tuple[str, bool, str, str]]]]) -> Plugin:
    """Make the plugin over a registry and the probes of this machine: name, whether it works, what was seen, cure."""
    catalogue = Plugin("catalogue")

    @catalogue.operation(risk=Risk.LOW, effect=Effect.READ)
    async def search(
        ctx: Context,
        query: str = "",
        domain: str | None = None,
        max_risk: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Found:
        """Find operations by words; only what you may use is listed."""
        among = [
            one
            for one in shelf.visible(ctx)
            if (domain is None or one.domain == domain) and (max_risk is None or one.risk <= Risk[max_risk])
        ]
        fitting = shelf.search(query, among, len(among)) if query else among
        start = _cursor(cursor)
        page = fitting[start : start + max(1, min(limit, 500))]
        end = start + len(page)
        return Found(
            operations=[_line(one) for one in page], total=len(fitting), cursor=str(end) if end < len(fitting) else None
        )

    @catalogue.operation(risk=Risk.LOW, effect=Effect.READ, face=Face(uri="op://{name}"))
    async def describe(ctx: Context, name: str) -> Full:
        """Describe one operation in full: schemas, effect, risk, how it is taken back, examples."""
        among = shelf.visible(ctx)
        found = next((one for one in among if one.name == name), None)
        if found is None:
            raise shelf.missing(ctx, name)
        return _full(found)

    @catalogue.operation(risk=Risk.LOW, effect=Effect.READ)
    async def capabilities(ctx: Context) -> Capabilities:
        """Say what works on this machine, what does not, and how to get it."""
        found = [
            Capability(name=name, available=works, detail=detail, cure=cure)
            for name, works, detail, cure in await probes()
        ]
        return Capabilities(
            capabilities=[Capability(name="python", available=True, detail=sys.version.split()[0]), *found]
        )

    return catalogue


def _cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidInput("`cursor` is what an earlier page gave")
    return int(cursor)


def _line(one: Any) -> Line:
    return Line(name=one.name, summary=one.summary, effect=one.effect.name, risk=one.risk.name, undo=one.takes_back)


def _full(one: Any) -> Full:
    return Full(
        name=one.name,
        version=one.version,
        plugin=one.plugin,
        summary=one.summary,
        description=one.description,
        effect=one.effect.name,
        risk=one.risk.name,
        scope=one.scope,
        takes_back=one.takes_back,
        why=one.why,
        idempotent=one.idempotent,
        stream=one.stream,
        background=one.background,
        timeout_s=one.timeout_s,
        reaches=sorted(one.reaches),
        touches=[
            {"argument": touch.argument, "kind": touch.kind, "effect": touch.effect.name} for touch in one.touched
        ],
        preview=one.preview is not None,
        digest=one.digest,
        input_schema=one.input_schema,
        output_schema=one.output_schema,
        examples=[{"title": example.title, "input": example.input} for example in one.examples],
    )
