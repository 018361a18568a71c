"""Showing policy: grants in words, versions, proposals, and who may see whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from superagent.sdk import Context, Grant, InvalidInput, policy_text

from .documents import checked
from .model import Edition, Proposed, Said, VersionOf

LONGEST_DIFF = 64 * 1024
MOST_SAID = 100


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one edition: what it adds, what it ends, and what is left then."""

    base: Edition
    added: tuple[Grant, ...]
    removed: tuple[Grant, ...]

    @property
    def hash(self) -> str:
        """Name this change of this edition."""
        return policy_text.hash_of(self.base.digest, self.added, [one.id for one in self.removed])

    def diff(self) -> str:
        """Show how the policy file would change."""
        names = f"version {self.base.number}", "proposed"
        return cut(policy_text.as_diff(self.added, self.removed, *names))


def change_of(
    base: Edition, add: Sequence[Grant], remove: Sequence[str], known: Mapping[str, Grant] | None = None
) -> Change:
    """Check a change against an edition. Raises `InvalidInput` for one that makes no sense.

    `known` are the edition's grants by their ids, for whoever checks many.
    """
    known = by_id(base) if known is None else known
    missing = [id for id in remove if id not in known]
    if missing:
        built_in = missing[0].startswith("role:")
        raise InvalidInput(
            f"there is no grant `{missing[0]}` that a change of policy could end",
            hint="give the principal another role" if built_in else "`policy.list` shows the grants in force",
        )
    if not add and not remove:
        raise InvalidInput("a change of policy adds or ends something", hint="name grants to `add`, or ids to `remove`")
    return Change(base, tuple(checked(one) for one in add), tuple(known[id] for id in dict.fromkeys(remove)))


def cut(diff: str) -> str:
    """Give the beginning of a diff that is too long to be shown, and say so."""
    if len(diff) <= LONGEST_DIFF:
        return diff
    return f"{diff[:LONGEST_DIFF]}\n… {len(diff)} characters in all; `policy.diff` lists every change in pages\n"


def by_id(base: Edition) -> dict[str, Grant]:
    """Give an edition's grants by their ids."""
    return {one.id: one for one in base.grants}


def said(grants: Iterable[Grant], most: int | None = None) -> list[Said]:
    """Say grants in words; at most so many of them."""
    shown = islice(grants, most)
    return [Said(id=one.id, words=policy_text.words(one), grant=policy_text.body(one)) for one in shown]


def version_of(one: Any) -> VersionOf:
    """Show a version."""
    return VersionOf(number=one.number, author=one.author, at=one.at, reason=one.reason, digest=one.digest)


def proposed(one: Any, base: Edition, known: Mapping[str, Grant], *, decides: bool) -> Proposed:
    """Show a proposal as a change of what is in force; the hash only to those who may apply it."""
    diff, trouble, hash = "", "", ""
    removed = [known[id] for id in one.removed if id in known]
    if one.state == "waiting":
        try:
            change = change_of(base, one.added, one.removed, known)
            diff, hash = change.diff() if decides else "", change.hash if decides else ""
        except InvalidInput as wrong:
            trouble = wrong.detail
    return Proposed(
        id=one.id,
        author=one.author,
        on_behalf_of=list(one.chain[1:]),
        at=one.at,
        reason=one.reason,
        state=one.state,
        by=one.by,
        version=one.version,
        adds=len(one.added),
        ends=len(one.removed),
        added=said(one.added, MOST_SAID),
        removed=said(removed, MOST_SAID) if decides else [],
        diff=diff,
        trouble=trouble,
        hash=hash,
    )


def decides(ctx: Context) -> bool:
    """Tell whether the caller may apply changes of policy, and so see all of it."""
    return ctx.principal.kind == "human" and ctx.could("policy.apply")
