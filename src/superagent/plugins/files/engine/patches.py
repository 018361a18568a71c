"""Unified diffs: reading them and applying them exactly, without guessing."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from .places import Differs, Unfit
from .texts import newline_of

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_NOTHING = "/dev/null"
_MOST_SEARCHED = 256 * 1024 * 1024  # characters, for all hunks that are not where they say
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "r": "\r", "v": "\v"}


@dataclass(slots=True)
class Hunk:
    """One place: where it begins (from 1; 0 in an empty file), the lines before and after, each with its line end."""

    start: int
    before: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class FilePatch:
    """What happens to one file; `source` None creates it, `target` None deletes it, two different names rename it."""

    source: str | None
    target: str | None
    hunks: list[Hunk] = field(default_factory=list[Hunk])
    mode: int | None = None


def parse(text: str) -> list[FilePatch]:
    """Read a unified diff, plain or git's. Raises `Unfit` with the line that is not understood."""
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if lines and all(line.endswith("\r") for line in lines):
        lines = [line[:-1] for line in lines]  # it came through something that writes CRLF; the files need not have it
    found = list(_Reader(lines).files())
    if not found:
        raise Unfit("the patch names no file", "send a unified diff with `---` and `+++` lines")
    seen: set[str] = set()
    for one in found:
        for path in {one.source, one.target} - {None}:
            assert path is not None
            _check(path)
            if path in seen:
                raise Unfit(f"the patch changes `{path}` twice", "put all hunks of a file under one header")
            seen.add(path)
    return found


def apply(text: str, hunks: list[Hunk]) -> str:
    """Apply hunks to a text: every line they name must be there, at its place or at exactly one other place after it.

    In a text whose lines all end in CRLF, a patch written with plain newlines applies all the same.
    Raises `Differs` naming the hunk that does not fit.
    """
    lines = _split(text)
    search = _Search(lines)
    crlf = newline_of(text) == "crlf" and not any(line.endswith("\r\n") for hunk in hunks for line in hunk.before)
    out: list[str] = []
    done, shift = 0, 0
    for number, hunk in enumerate(hunks, 1):
        before = [_as_crlf(line) for line in hunk.before] if crlf else hunk.before
        after = [_as_crlf(line) for line in hunk.after] if crlf else hunk.after
        at = search.find(before, done, hunk.start - (1 if before else 0) + shift, number)
        shift = at - (hunk.start - (1 if before else 0))
        out += lines[done:at] + after
        done = at + len(before)
    rest = lines[done:]
    if rest and out and not out[-1].endswith("\n"):
        raise Differs("the patch takes the line end of a line that is not the last", "make the patch anew")
    return "".join(out + rest)


class _Search:
    """Where hunks fit: where they say, else at the one other place; what is read for that has an end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._left = _MOST_SEARCHED
        self._text = ""
        self._starts: list[int] = []

    def find(self, before: list[str], done: int, expected: int, number: int) -> int:
        """Give the line at which a hunk fits. Raises `Differs`."""
        lines = self._lines
        if not before:
            if done <= expected <= len(lines):
                return expected
        elif expected >= done and lines[expected : expected + len(before)] == before:
            return expected
        else:
            others = self._others(before, done)
            if len(others) == 1:
                return others[0]
            if others:
                raise Differs(f"hunk {number} fits 2 places or more, and none is the one it names", "give more context")
        raise Differs(
            f"hunk {number}, at line {expected + 1}, does not fit the file", "read the file and make the patch anew"
        )

    def _others(self, before: list[str], done: int) -> list[int]:
        """Give the first two lines from `done` on at which it fits."""
        if done >= len(self._lines):
            return []
        if not self._starts:
            self._text = "\n" + "".join(self._lines)  # so that every line has a line end before it
            self._starts = [0, *accumulate(len(line) for line in self._lines)]
        if not before[-1].endswith("\n"):  # the last line of a file without a line end fits nowhere else
            at = len(self._lines) - len(before)
            return [at] if at >= done and self._lines[at:] == before else []
        found: list[int] = []
        wanted, start = "\n" + "".join(before), self._starts[done]
        while len(found) < 2:
            at = self._text.find(wanted, start)
            self._left -= (len(self._text) if at < 0 else at) - start + len(wanted)
            if self._left < 0:
                raise Differs("too many hunks are not where they say", "read the file and make the patch anew")
            if at < 0:
                break
            found.append(bisect_left(self._starts, at))
            start = at + 1
        return found


def _split(text: str) -> list[str]:
    """Split at newlines only: a form feed or a lone carriage return is part of its line."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def _as_crlf(line: str) -> str:
    return line[:-1] + "\r\n" if line.endswith("\n") else line


def _check(path: str) -> None:
    parts = path.split("/")
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise Unfit(f"`{path}` in the patch does not lie beneath `root`", "name files relative to `root`, without `..`")


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def files(self) -> Iterator[FilePatch]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("diff --git "):
                yield self._git(line)
            elif line.startswith("--- ") and self._peek(1).startswith("+++ "):
                yield self._hunks(FilePatch(*self._names()))
            elif line.startswith(("@@ ", "+++ ")):
                raise Unfit(
                    f"line {self.at + 1} of the patch belongs to no file", "put `---` and `+++` lines before it"
                )
            else:
                self.at += 1  # words between files: a commit's message, an index line

    def _git(self, line: str) -> FilePatch:
        half = len(line.removeprefix("diff --git ")) // 2
        name = _unquote(line.removeprefix("diff --git ")[:half])
        plain = name.removeprefix("a/")
        one = FilePatch(plain, plain)
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            word, _, rest = line.partition(" ")
            if line.startswith(("diff --git ", "@@ ")):
                break
            if line.startswith("--- ") and self._peek(1).startswith("+++ "):
                source, target = self._names()
                return self._hunks(FilePatch(source, target, mode=one.mode))
            if line.startswith(("GIT binary patch", "Binary files ")):
                raise Unfit(f"the patch holds binary content for `{plain}`", "write that file with `files.write`")
            if line.startswith("new file mode "):
                one.source, one.mode = None, _mode(rest)
            elif line.startswith("deleted file mode "):
                one.target = None
            elif line.startswith("new mode "):
                one.mode = _mode(rest)
            elif line.startswith("rename from "):
                one.source = _unquote(line.removeprefix("rename from "))
            elif line.startswith("rename to "):
                one.target = _unquote(line.removeprefix("rename to "))
            elif word == "copy":
                raise Unfit("the patch copies a file", "use `files.copy`")
            self.at += 1
        return one

    def _names(self) -> tuple[str | None, str | None]:
        source = _unquote(self.lines[self.at][4:].split("\t")[0])
        target = _unquote(self._peek(1)[4:].split("\t")[0])
        self.at += 2
        if source.startswith("a/") and (target.startswith("b/") or target == _NOTHING):
            source = source[2:]
        if target.startswith("b/") and (self.lines[self.at - 2][4:].lstrip('"').startswith("a/") or source == _NOTHING):
            target = target[2:]
        if source == target == _NOTHING:
            raise Unfit(f"line {self.at} of the patch names no file")
        return None if source == _NOTHING else source, None if target == _NOTHING else target

    def _hunks(self, one: FilePatch) -> FilePatch:
        while found := _HUNK.match(self._peek(0)):
            self.at += 1
            hunk = Hunk(int(found[1]))
            self._body(hunk, int(found[2] or 1), int(found[4] or 1))
            one.hunks.append(hunk)
        if not one.hunks:
            raise Unfit(f"line {self.at + 1} of the patch should begin with `@@ -`")
        return one

    def _body(self, hunk: Hunk, before: int, after: int) -> None:
        while len(hunk.before) < before or len(hunk.after) < after or self._peek(0).startswith("\\"):
            line = self._peek(0) if self.at < len(self.lines) else "end"
            kind, rest = line[:1], line[1:] + "\n"
            if kind == "\\":
                self._no_newline(hunk)
            elif kind in (" ", ""):
                hunk.before.append(rest if kind else "\n")
                hunk.after.append(rest if kind else "\n")
            elif kind == "-":
                hunk.before.append(rest)
            elif kind == "+":
                hunk.after.append(rest)
            else:
                raise Unfit(f"line {self.at + 1} of the patch: the hunk is shorter than its `@@` line says")
            self.at += 1
        if len(hunk.before) != before or len(hunk.after) != after:
            raise Unfit(f"line {self.at} of the patch: the hunk is longer than its `@@` line says")

    def _no_newline(self, hunk: Hunk) -> None:
        """Take the line end of the line before: it is the last of its file and has none."""
        last = self.lines[self.at - 1][:1]
        for side, marks in ((hunk.before, " -"), (hunk.after, " +")):
            if last in marks and last and side:
                side[-1] = side[-1].removesuffix("\n")

    def _peek(self, ahead: int) -> str:
        return self.lines[self.at + ahead] if self.at + ahead < len(self.lines) else ""


def _mode(text: str) -> int:
    if text[-6:] not in ("100644", "100755"):
        raise Unfit(
            f"the patch makes something that is no plain file (mode {text[-6:]})", "use `files` operations for it"
        )
    return int(text[-3:], 8)


def _unquote(name: str) -> str:
    """Read git's quoted form of a name, with octal escapes for its bytes."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    plain = re.sub(
        r"\\([0-7]{3}|.)",
        lambda found: chr(int(found[1], 8)) if found[1].isdigit() else _ESCAPES.get(found[1], found[1]),
        name[1:-1],
    )
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return plain
