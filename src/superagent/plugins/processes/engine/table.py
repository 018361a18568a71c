"""The table of processes: a snapshot of all, read by psutil; what ends meanwhile is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from .exact import Gone, start_of

Sort = Literal["pid", "cpu", "memory", "start"]
LONGEST = 4096
_SHOWN = ["pid", "ppid", "name", "username", "uids", "create_time", "status", "num_threads", "memory_info", "cpu_times"]
_FLAG = re.compile(r"(?i)^--?[a-z0-9_-]*(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|credentials?)$")
_GONE = "[redacted]"


@dataclass(frozen=True, slots=True)
class Row:
    """One process: `start` in ticks since boot, `started` in epoch seconds, `cpu_s` the processor time it has used."""

    pid: int
    parent: int
    name: str
    user: str
    uid: int
    state: str
    start: int
    started: float
    cpu_s: float
    memory_bytes: int
    threads: int
    command: str


def rows(sees: Callable[[int, int, str], bool], redact: Callable[[str], str], only: Iterable[int] = ()) -> list[Row]:
    """Give the processes that `sees` lets through by (pid, uid, user), those of `only` or all of them."""
    found: list[Row] = []
    for process in _each(only or psutil.pids()):
        row = _row(process, sees, redact)
        if row is not None:
            found.append(row)
    return found


def command_of(words: list[str], redact: Callable[[str], str]) -> str:
    """Give a command line as text, without what looks like a secret in it."""
    shown = [
        _GONE if at and _FLAG.match(words[at - 1]) and not word.startswith("-") else word
        for at, word in enumerate(words)
    ]
    text = " ".join(shown)
    return redact(text if len(text) <= LONGEST else text[:LONGEST] + " …")


def sorted_by(found: list[Row], sort: Sort) -> list[Row]:
    """Sort: by number and start from the first, by processor time and memory from the largest."""
    keys: dict[Sort, Callable[[Row], Any]] = {
        "pid": lambda row: row.pid,
        "start": lambda row: (row.start, row.pid),
        "cpu": lambda row: (-row.cpu_s, row.pid),
        "memory": lambda row: (-row.memory_bytes, row.pid),
    }
    return sorted(found, key=keys[sort])


def beneath(found: list[Row], root: int | None) -> list[tuple[int, Row]]:
    """Give (depth, process) from the top down, children under their parents; of one process and all beneath it.

    What has a parent that is not among them stands at the top.
    """
    here = {row.pid: row for row in found}
    children: dict[int, list[Row]] = {}
    tops: list[Row] = []
    for row in sorted_by(found, "pid"):
        if row.pid == root or (root is None and (row.parent not in here or row.parent == row.pid)):
            tops.append(row)
        else:
            children.setdefault(row.parent, []).append(row)
    shown: list[tuple[int, Row]] = []
    left = [(0, row) for row in reversed(tops)]
    seen: set[int] = set()
    while left:
        depth, row = left.pop()
        if row.pid not in seen:  # a table that was read while numbers were reused may hold a circle
            seen.add(row.pid)
            shown.append((depth, row))
            left += [(depth + 1, child) for child in reversed(children.get(row.pid, []))]
    return shown


def _each(pids: Iterable[int]) -> Iterable[psutil.Process]:
    for pid in pids:
        try:
            yield psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue


def _row(process: psutil.Process, sees: Callable[[int, int, str], bool], redact: Callable[[str], str]) -> Row | None:
    try:
        with process.oneshot():
            uid, user = process.uids().real, process.username()
            if not sees(process.pid, uid, user):
                return None
            read: dict[str, Any] = _any(process).as_dict(_SHOWN, ad_value=None)
            start = start_of(process.pid)
            words = _words(process)
    except (psutil.Error, Gone):
        return None
    times, memory = read["cpu_times"], read["memory_info"]
    return Row(
        process.pid,
        read["ppid"] or 0,
        _text(read["name"] or ""),
        user,
        uid,
        read["status"] or "",
        start,
        round(read["create_time"] or 0.0, 3),
        round(times.user + times.system, 3) if times else 0.0,
        memory.rss if memory else 0,
        read["num_threads"] or 0,
        command_of(words, redact) if words else f"[{_text(read['name'] or '')}]",
    )


def _any(process: Any) -> Any:
    return process


def _words(process: psutil.Process) -> list[str]:
    try:
        return [_text(word) for word in process.cmdline()]
    except psutil.AccessDenied:
        return []


def _text(value: str) -> str:
    # names and arguments are bytes to the kernel; what is no text must still stand in JSON
    return os.fsencode(value).decode("utf-8", "backslashreplace")
