"""Taint: who has read untrusted text, and which calls then need a person (rules.md 12, ADR 46).

What the platform itself says is trusted, all else is not: text that came from elsewhere can hold orders for whoever
reads it. Marks are kept for each acting identity, for tasks of the platform's own and for places; nothing that an agent
can do takes one away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import msgspec

from superagent.core.principal import Principal
from superagent.core.resources import Effect, Resource, Risk, beneath

Untrusted = Literal["never", "places", "always"]
"""What the text of a result is worth: `never` untrusted (the platform's own words); as its `places` are, trusted only
in a clean workspace of the caller's own; `always` untrusted (web, mail, what other programs say)."""
Sends = bool | Callable[[dict[str, Any]], bool]

LONGEST_SOURCE = 300
_LOCAL = {"files", "run", "views", "terminals", "interpreters", "secret", "apart"}
OUT = ("host", "connection")


class Mark(msgspec.Struct, frozen=True):
    """Who has read untrusted text (`caller:builder`, `task:ID`), or where some was left (`place:/path`); `at` epoch s.

    `source` says in words where it came from, `invocation` and `session` in which call.
    """

    subject: str
    source: str
    at: float
    invocation: str = ""
    session: str = ""


class Taints(Protocol):
    """The marks of an installation."""

    def of(self, tenant: str, subjects: Iterable[str]) -> Mark | None:
        """Give the mark of one of these, None when all are clean; cheap."""
        ...

    def left_in(self, tenant: str, folder: str) -> Mark | None:
        """Give the mark of a place that lies in a folder or contains it."""
        ...

    async def add(self, tenant: str, marks: Iterable[Mark]) -> list[Mark]:
        """Mark those that are clean, durable and seen by every worker on return; gives the new ones."""
        ...

    async def clear(self, tenant: str, subject: str) -> Mark | None:
        """Take a mark away, everywhere at once; gives what it said."""
        ...


def untrusted_of(declared: Untrusted | None, touches: bool, reaches: Iterable[str]) -> Untrusted:
    """Give what holds where an author said nothing: whatever reaches beyond the platform is not believed."""
    if declared is not None:
        return declared
    reached = set(reaches)
    if not reached and not touches:
        return "never"
    return "places" if touches and reached <= _LOCAL else "always"


def guarded_of(
    effect: Effect, risk: Risk, sends: Sends, kinds: Iterable[str], hooks: Iterable[str], reaches: Iterable[str] = ()
) -> bool:
    """Tell whether some call of an operation could need a person, or send to what it names only later.

    It is cheap to ask where this is false.
    """
    dynamic = bool(effect and ({"assess", "touches"} & set(hooks) or "run" in reaches))
    named = not {*OUT, "secret"}.isdisjoint(kinds)
    return effect is Effect.DESTROY or risk is Risk.CRITICAL or bool(sends) or named or dynamic


def subjects_of(principal: Principal, task: str) -> tuple[str, ...]:
    """Give what a call's taint belongs to: the task that the platform started, else everybody acting but people.

    Each identity of the chain, for whoever holds a delegated key may hold the one it came from.
    """
    if task:
        return (f"task:{task}",)
    return tuple(f"caller:{hop.id}" for hop in principal.chain() if hop.kind not in ("human", "anonymous"))


def needs_person(
    effect: Effect, risk: Risk, sends: Sends, values: dict[str, Any], resources: tuple[Resource, ...]
) -> bool:
    """Tell whether a call may do lasting harm at somebody's bidding: it destroys, sends, is critical, uses secrets."""
    if effect is Effect.DESTROY or (effect and risk is Risk.CRITICAL):
        return True
    if sends if isinstance(sends, bool) else sends(values):
        return True
    return any(
        one.effect is Effect.DESTROY or one.kind == "secret" or (one.effect and one.kind in OUT) for one in resources
    )


def source_of(
    untrusted: Untrusted, resources: tuple[Resource, ...], workspace: str, left_in: Callable[[str], Mark | None]
) -> str:
    """Say where the text of a result comes from if it is untrusted; empty where it can be trusted."""
    if untrusted == "never":
        return ""
    foreign = [one for one in resources if not (workspace and one.kind == "path" and beneath(one.path, workspace))]
    if untrusted == "always" or foreign or not resources:
        # what stands outside says more than what stands within
        return next((one.id for one in (*foreign, *resources)), "what others say")[:LONGEST_SOURCE]
    mark = left_in(workspace)
    return "" if mark is None else f"the workspace holds text from {mark.source}"[:LONGEST_SOURCE]


def places_of(resources: tuple[Resource, ...], workspace: str) -> list[str]:
    """Give the places in which a change by somebody tainted leaves text: its workspace, else the folder it lies in."""
    changed = [one.path for one in resources if one.effect is Effect.CHANGE and one.kind == "path"]
    own = [workspace if workspace and beneath(path, workspace) else "" for path in changed]
    found = [place or path.rpartition("/")[0] or "/" for place, path in zip(own, changed, strict=True)]
    return list(dict.fromkeys(f"place:{place}" for place in found))


def said(mark: Mark) -> str:
    """Say a mark in words, for whoever has to decide."""
    return mark.source + (f" (call {mark.invocation})" if mark.invocation else "")


def provenance(source: str) -> dict[str, str]:
    """Give the label that a result carries."""
    return {"trust": "untrusted", "source": source} if source else TRUSTED


TRUSTED = {"trust": "trusted", "source": "platform"}
