"""Processes as the kernel counts them: CPU time and memory of a whole tree, and who listens on a port."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LISTENING = "0A"
IDLE = 0.03  # of one processor
LOOK_S = 0.3
SETTLE_S = 30.0


@dataclass(frozen=True, slots=True)
class Stat:
    """What `/proc/<pid>/stat` says of one process; CPU times in seconds, those of ended children included."""

    pid: int
    parent: int
    user_s: float
    system_s: float


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time that a process tree has used so far, in seconds."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """Give user and system time together."""
        return self.user_s + self.system_s

    def since(self, earlier: Cpu) -> Cpu:
        """Give what was used after an earlier reading."""
        return Cpu(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


def parse_stat(text: str, ticks_per_s: int = TICKS_PER_S) -> Stat:
    """Read one line of `/proc/<pid>/stat` (proc(5)); the name in brackets may itself hold brackets and blanks."""
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    pid = int(head.partition(" ")[0])
    user, system, ended_user, ended_system = (int(fields[at]) for at in (11, 12, 13, 14))
    return Stat(pid, int(fields[1]), (user + ended_user) / ticks_per_s, (system + ended_system) / ticks_per_s)


def tree(root: int, stats: Iterable[Stat]) -> list[Stat]:
    """Give a process and all that descend from it; empty when it is not there."""
    known = {stat.pid: stat for stat in stats}
    children: dict[int, list[int]] = {}
    for stat in known.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: list[Stat] = []
    waiting = [root] if root in known else []
    while waiting:
        pid = waiting.pop()
        found.append(known[pid])
        waiting += children.get(pid, [])
    return found


def processes() -> list[Stat]:
    """Read every process that runs now."""
    found: list[Stat] = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                found.append(parse_stat((folder / "stat").read_text("utf-8", "replace")))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cpu_of(root: int) -> Cpu:
    """Give the CPU time used so far by a process and its descendants. Raises `ProcessLookupError` when it is gone."""
    found = tree(root, processes())
    if not found:
        raise ProcessLookupError(root)
    return Cpu(sum(stat.user_s for stat in found), sum(stat.system_s for stat in found))


def settle(root: int) -> None:
    """Wait until a process and its descendants have ended what they do by themselves, such as work after their start.

    Goes on after half a minute however busy they are: what never ends belongs to what is measured.
    """
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        before = cpu_of(root)
        time.sleep(LOOK_S)
        if cpu_of(root).since(before).total_s <= IDLE * LOOK_S:
            return


def rss_of(root: int) -> int:
    """Give the resident memory of a process and its descendants in bytes; shared pages count once for each."""
    total = 0
    for stat in tree(root, processes()):
        try:
            total += int((PROC / str(stat.pid) / "statm").read_text().split()[1]) * PAGE_BYTES
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def listeners(table: str) -> dict[int, int]:
    """Read `/proc/net/tcp`: port → inode of the socket that listens there."""
    found: dict[int, int] = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTENING:
            found[int(fields[1].rpartition(":")[2], 16)] = int(fields[9])
    return found


def sockets_of(pid: int) -> set[int]:
    """Give the inodes of the sockets that a process holds open."""
    found: set[int] = set()
    for link in (PROC / str(pid) / "fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def listens(root: int, port: int, table: Mapping[int, int] | None = None) -> bool:
    """Tell whether who listens on a port of this host belongs to a process tree: no stale server answers for it."""
    inode = (listeners((PROC / "net" / "tcp").read_text()) if table is None else table).get(port)
    if inode is None:
        return False
    for stat in tree(root, processes()):
        try:
            if inode in sockets_of(stat.pid):
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False
