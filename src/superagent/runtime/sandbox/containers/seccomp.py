"""The system call filter of containers: the decisions of the native filter, written as an engine reads them.

Engines take names and compile the filter themselves. Theirs must be a list of what is allowed: only then does the
runtime answer `ENOSYS` to calls that are newer than the list. So the refusals of `filters/rules.py` stand here turned
round; a test compiles the result and compares its answers with those of the native filter, call by call.
"""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from superagent.runtime.sandbox.filters.rules import Equal, refusals

CALLS = Path(__file__).with_name("calls.txt")
"""The names of all calls that were looked at, one a line; `python -m …containers.call_names` writes it."""

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_WORD = 0xFFFF_FFFF
_SET_UID = 0o4000
_CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE
_INET, _INET6, _UNIX = 2, 10, 1
_KIND = 0xF

When = tuple[tuple[int, int, int], ...]
"""Conditions that must all hold: argument, mask, and the value that it has under the mask."""


@functools.cache
def profile_for(machine: str, *, unix: bool) -> str | None:
    """Give the profile for a machine as `uname -m` names it; `unix` allows local sockets with a name.

    Gives None for a machine whose calls nobody has looked at.
    """
    if machine not in _ARCHITECTURES:
        return None
    table = refusals(inet=True, unix=unix)
    refused = {call: one.answer for one in table if not one.when for call in one.calls}
    conditional = dict(_conditional(unix=unix))
    names = [name for name in CALLS.read_text("ascii").split() if name not in refused and name not in conditional]
    rules: list[dict[str, Any]] = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    rules += [
        {"names": sorted(call for call, other in refused.items() if other == answer), "action": "SCMP_ACT_ERRNO"}
        | {"errnoRet": answer}
        for answer in sorted(set(refused.values()) - {errno.EPERM})  # which is what all else is answered
    ]
    for call, ways in conditional.items():
        rules += [
            {"names": [call], "action": "SCMP_ACT_ALLOW", "args": [_argument(*one) for one in way]} for way in ways
        ]
    whole = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [_ARCHITECTURES[machine]], "syscalls": rules}
    return json.dumps(whole, separators=(",", ":"))


def _argument(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _conditional(*, unix: bool) -> Iterator[tuple[str, tuple[When, ...]]]:
    """Give the calls that are allowed only with some arguments, each with the ways in which it is."""
    table = refusals(inet=True, unix=unix)
    flags = functools.reduce(int.__or__, (one.value for one in _equals(table, "clone")), 0)
    yield "clone", (((0, flags, 0),),)
    yield (
        "ioctl",
        tuple(((1, mask, value),) for mask, value in _all_but({one.value for one in _equals(table, "ioctl")})),
    )
    for call, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("creat", 1), ("mknod", 1), ("mknodat", 2)):
        yield call, (((mode, _SET_UID, 0),),)
    for call, opening, mode in (("open", 1, 2), ("openat", 2, 3)):
        yield call, (((mode, _SET_UID, 0),), ((opening, _CREATES, 0),))
    whole = (_WORD << 32) | _WORD
    families = [((0, whole, family), (1, _KIND, kind)) for family in (_INET, _INET6) for kind in (1, 2)]
    yield "socket", (*families, *([((0, whole, _UNIX),)] if unix else []))
    if not unix:
        yield "socketpair", tuple(((1, _KIND, kind),) for kind in range(_KIND + 1) if kind not in (2, 3))


def _equals(table: tuple[Any, ...], call: str) -> Iterator[Equal]:
    for refusal in table:
        if call in refusal.calls:
            yield from (one for one in refusal.when if isinstance(one, Equal))


def _all_but(values: set[int], bits: int = 32, prefix: int = 0) -> Iterator[tuple[int, int]]:
    """Give, as mask and value, the blocks of numbers that together are all of 32 bits but these.

    An engine cannot say that the lower half of an argument differs from a number, only that bits of it are such.
    """
    if not any(value >> bits == prefix for value in values):
        yield _WORD >> bits << bits, prefix << bits
    elif bits:
        yield from _all_but(values, bits - 1, prefix << 1)
        yield from _all_but(values, bits - 1, prefix << 1 | 1)
