"""Calls as they are written in JSON: in a batch, in a line of a stream, in what a message says beside its input."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, cast

import msgspec

from superagent.core.grants import ISOLATION
from superagent.core.invocation import Call
from superagent.core.problems import Fault, InvalidInput
from superagent.core.questions import MOST_ANSWERS, MOST_BYTES

STEERS = "superagent/call"
"""The key of a message's metadata that says how to treat a call: `{"dry_run": true, "key": "…", "reason": "…"}`."""

MOST_BESIDE = 1000
"""So many names are looked at beside a call, and no more: nobody says as much, and looking takes time."""

_STEERING = f'`{{"{STEERS}": {{"dry_run": true}}}}`'
_BETWEEN = re.compile("[^a-z0-9]+")


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    """A call as it is written in a batch or a line (rules.md 4)."""

    operation: str
    input: dict[str, Any] = {}
    key: str = ""
    dry_run: bool = False
    deadline_s: float | None = None
    reason: str = ""
    max_bytes: int | None = None
    isolation: str = ""
    session: str = ""
    answers: dict[str, Any] = {}


_FIELDS = f"a call has {', '.join(_Call.__struct_fields__)}"


def call_from(value: Any, path: str) -> Call:
    """Make a call of its JSON object. Raises `InvalidInput` with the path of what is wrong."""
    if type(value) is dict and len(fields := cast("dict[str, Any]", value)) == 2:  # most calls say no more
        name, given = fields.get("operation"), fields.get("input")
        if type(name) is str and type(given) is dict:
            return Call(name, cast("dict[str, Any]", given))
    try:
        said = msgspec.convert(value, _Call, strict=True)
    except msgspec.ValidationError as bad:
        what, _, where = str(bad).rpartition(" - at `$")
        raise faulty(f"{path}{where.rstrip('`')}" if what else path, (what or str(bad))[:300], _FIELDS) from None
    if said.deadline_s is not None and not 0 < said.deadline_s <= 86_400:
        raise faulty(f"{path}.deadline_s", "must be above 0 and up to 86400")
    if said.max_bytes is not None and said.max_bytes < 0:
        raise faulty(f"{path}.max_bytes", "must not be negative")
    if said.key or said.session or said.reason:
        _check_texts(said, path)
    if said.answers and (len(said.answers) > MOST_ANSWERS or len(msgspec.json.encode(said.answers)) > MOST_BYTES):
        raise faulty(f"{path}.answers", f"holds more than {MOST_ANSWERS} answers, or {MOST_BYTES} bytes")
    return Call(
        said.operation, said.input, said.key, said.dry_run, said.deadline_s, said.reason, said.max_bytes,
        said.isolation and isolation_of(said.isolation), said.session, False, said.answers,
    )  # fmt: skip


def steers_of(meta: Mapping[str, Any], path: str, known: Iterable[str] = ()) -> dict[str, Any]:
    """Give what the metadata of a message says of how to treat its call, under `superagent/call` (rules.md 4).

    A key that is like ours and is none, `known` ones aside, is refused: who means a dry run must not get the real
    thing. Raises `InvalidInput`.
    """
    refuse_slips(meta, path, {STEERS, *known})
    said = meta.get(STEERS, {})
    if not isinstance(said, dict):
        raise faulty(f"{path}.{STEERS}", "must be an object", f"as in {_STEERING}")
    return dict(cast("dict[str, Any]", said))


def refuse_slips(said: Mapping[str, Any], path: str, known: Container[str]) -> None:
    """Refuse what a message says beside what it knows, if it is like our key or means a dry run: it would be ignored.

    Raises `InvalidInput` with the right form.
    """
    names = 0
    for name, value in said.items():
        if name in known:
            continue
        inner: dict[object, Any] = cast("dict[object, Any]", value) if isinstance(value, dict) else {}
        names += 1 + len(inner)
        if names > MOST_BESIDE:
            raise faulty(path, f"says more than {MOST_BESIDE} names beside the call")
        if "superagent" in _letters(name) or any(means_dry_run(str(one)) for one in (name, *inner)):
            raise faulty(f"{path}.{name[:100]}", "unknown key", f"did you mean {_STEERING}?")


def means_dry_run(name: str) -> bool:
    """Tell whether a name can only mean a dry run: its letters hold `dryrun`, or `dry` is a word of its own in it."""
    return "dryrun" in _letters(name) or "dry" in _BETWEEN.split(name.lower()[:200])


def _letters(name: str) -> str:
    return _BETWEEN.sub("", name.lower()[:200])


def _check_texts(said: _Call, path: str) -> None:
    for name, text, most in (("key", said.key, 200), ("session", said.session, 200), ("reason", said.reason, 2000)):
        if len(text) > most:
            raise faulty(f"{path}.{name}", f"is longer than {most} characters")
        if "\0" in text:
            raise faulty(f"{path}.{name}", "has a NUL character")


def isolation_of(text: str) -> str:
    """Give a demanded isolation level. Raises `InvalidInput` for one that nobody knows."""
    if text and text not in ISOLATION:
        raise InvalidInput(f"there is no isolation level `{text[:60]}`", hint=f"they are {', '.join(ISOLATION)}")
    return text


def faulty(path: str, message: str, hint: str | None = None) -> InvalidInput:
    """Give the problem of one fault in a written call."""
    return InvalidInput(f"{path}: {message}", errors=[Fault(path, message)], hint=hint)
