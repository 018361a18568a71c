"""Results of tests, read from what runners write: TAP, `go test -json`, the text of cargo; JUnit has a file of its own.

What a runner says is not believed: texts are cleaned and cut, places outside of the workspace left out, and numbers
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import re2 as _untyped

from . import junit
from .clean import line, plain, within
from .findings import Unreadable, parsed, rows

re2: Any = _untyped  # it comes without types

Status = Literal["passed", "failed", "error", "skipped"]
MOST_CASES = 50_000
MOST_MESSAGE = 4000
MOST_NAME = 500


@dataclass(frozen=True, slots=True)
class Case:
    """One test: `file` is relative to the workspace, `line` counts from 1, None where it is not known."""

    name: str
    status: Status
    file: str | None = None
    line: int | None = None
    seconds: float | None = None
    message: str = ""


def read(form: str, text: str, cwd: str, inside: str) -> list[Case]:
    """Read a report. Raises `Unreadable`."""
    found: list[Case] = []
    try:
        for raw in _READERS[form](text):
            if len(found) >= MOST_CASES:
                raise Unreadable(f"it has more than {MOST_CASES} tests")
            found.append(_checked(raw, cwd, inside))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as bad:
        raise Unreadable(f"it is not the {form} report that was asked for ({type(bad).__name__})") from None
    return found


def _checked(raw: junit.Raw, cwd: str, inside: str) -> Case:
    number = raw.line if isinstance(raw.line, int) and 0 < raw.line < 2**31 else None
    seconds = raw.seconds if isinstance(raw.seconds, float) and 0 <= raw.seconds < 1e9 else None
    return Case(
        line(raw.name, MOST_NAME),
        raw.status,
        within(raw.file, cwd, inside) if raw.file else None,
        number,
        None if seconds is None else round(seconds, 6),
        plain(raw.message.strip(), MOST_MESSAGE),
    )


# ---- our own reporter for `node --test` (`inside/node_report.mjs`)


def _node(text: str) -> Iterator[junit.Raw]:
    for row in rows(text):
        if not row.startswith('{"name":'):
            continue
        one = parsed(row)
        if one["status"] not in ("passed", "failed", "skipped"):
            raise ValueError("no status")
        yield junit.Raw(
            str(one["name"]), one["status"], str(one["file"]), one["line"], float(one["seconds"]), str(one["message"])
        )


# ---- TAP 13 and 14, as Perl's `prove -v` shows it

_POINT = re2.compile(r"^( *)(not )?ok [0-9]+(?: -)? ?(.*)$")
_SUBTEST = re2.compile(r"^( *)# Subtest: (.*)$")
_PROVE = re2.compile(r"^(\S+\.t) \.\. ?$")


@dataclass(slots=True)
class _Tap:
    """What is known while a stream of TAP is read: names of the tests around, and the point that was last."""

    around: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    point: junit.Raw | None = None
    parent: bool = False
    deepest: int = -1
    file: str = ""

    def ended(self) -> Iterator[junit.Raw]:
        """Give the point that is over, unless it only sums up those beneath it."""
        if self.point is not None and not self.parent:
            yield self.point
        self.point = None

    def began(self, depth: int, failed: bool, rest: str) -> None:
        """Begin a point."""
        name, _, directive = f" {rest}".partition(" # ")
        name, directive = name.strip()[:MOST_NAME], directive[:MOST_NAME]
        skipped = directive.upper().startswith(("SKIP", "TODO"))
        outer = [one for level, one in self.around if level <= depth and one != name]
        self.point = junit.Raw(" > ".join([*outer, name or directive]), "failed" if failed else "passed", self.file)
        if skipped:
            self.point.status, self.point.message = "skipped", directive
        self.parent, self.deepest = self.deepest > depth, depth
        self.around = [(level, one) for level, one in self.around if level < depth or (level == depth and one != name)]


def _tap(text: str) -> Iterator[junit.Raw]:
    at = _Tap()
    for row in rows(text):
        if (found := _SUBTEST.match(row)) is not None:
            yield from at.ended()
            depth = len(found.group(1))
            at.around = [one for one in at.around if one[0] < depth] + [(depth, found.group(2)[:MOST_NAME])]
            if len(at.around) > junit.MOST_DEPTH:
                raise ValueError("its tests lie too deep")
        elif (found := _POINT.match(row)) is not None:
            yield from at.ended()
            at.began(len(found.group(1)), found.group(2) is not None, found.group(3))
        elif (found := _PROVE.match(row)) is not None:
            yield from at.ended()
            at.file, at.around, at.deepest = found.group(1), [], -1
        elif at.point is not None and at.point.status == "failed" and len(at.point.message) < MOST_MESSAGE:
            at.point.message += row.lstrip(" #") + "\n" if row.lstrip().startswith("#") else ""
    yield from at.ended()


# ---- go test -json (`go doc test2json`)


def _go(text: str) -> Iterator[junit.Raw]:
    said: dict[tuple[str, str], str] = {}
    failed: set[str] = set()
    for row in rows(text):
        if not row.startswith("{"):
            continue
        event: dict[str, Any] = parsed(row)
        key = str(event.get("Package", "")), str(event.get("Test", ""))
        action = event.get("Action")
        if action == "output":
            if len(said.get(key, "")) < MOST_MESSAGE:
                said[key] = said.get(key, "") + str(event.get("Output", ""))
        elif action in ("pass", "fail", "skip") and (key[1] or (action == "fail" and key[0] not in failed)):
            status: Status = "passed" if action == "pass" else "skipped" if action == "skip" else "failed"
            raw = junit.Raw(f"{key[0]}.{key[1]}" if key[1] else key[0], status if key[1] else "error")
            raw.seconds = float(event.get("Elapsed") or 0.0)
            raw.message = said.pop(key, "") if action != "pass" else ""
            failed |= {key[0]} if action == "fail" else set()
            yield raw


# ---- cargo test, whose JSON is not stable yet, so its text

_CARGO = re2.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, (.*))?$")
_CARGO_SAYS = re2.compile(r"^---- (.+) stdout ----$")
_PANICKED = re2.compile(r"(?:panicked at (?:.*, )?|', )([^ ,:']+\.rs):([0-9]{1,9})")


def _cargo(text: str) -> Iterator[junit.Raw]:
    kinds: dict[str, Status] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
    found: list[junit.Raw] = []
    failed: dict[str, junit.Raw] = {}
    name = ""
    for row in rows(text):
        if (one := _CARGO.match(row)) is not None:
            if len(found) > MOST_CASES:
                break  # it is refused for that
            found.append(junit.Raw(one.group(1), kinds[one.group(2)]))
            found[-1].message = one.group(3) or ""
            if found[-1].status == "failed":
                failed[found[-1].name] = found[-1]
        elif (one := _CARGO_SAYS.match(row)) is not None:
            name = one.group(1)
        elif row in ("failures:", "successes:"):
            name = ""
        elif name:
            raw = failed.get(name)
            if raw is not None and len(raw.message) < MOST_MESSAGE:
                raw.message += row + "\n"
                if not raw.file and (place := _PANICKED.search(row)) is not None:
                    raw.file, raw.line = place.group(1), int(place.group(2))
    yield from found


_READERS: dict[str, Callable[[str], Iterator[junit.Raw]]] = {
    "junit": junit.read,
    "node": _node,
    "tap": _tap,
    "go": _go,
    "cargo": _cargo,
}
