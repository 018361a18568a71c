"""Control groups: where they lie on this machine, what this process may do with them, and what dead launchers left."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable, Iterator

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
_NAME = re.compile(r"superagent-(\d+)-(\d+)-(\d+)")
_DEEPEST = 6  # a launcher's group lies beside or beneath the processes of some service, not at the end of the world

_MOST_READ = 4096

Make = Callable[[str], None]


class Usage:
    """What a group has used, and how often it was held back: memory in bytes; None: not known."""

    __slots__ = ("memory_bytes", "out_of_memory", "peak_bytes", "processes", "refused_processes")

    def __init__(self) -> None:
        self.memory_bytes: int | None = None
        self.peak_bytes: int | None = None
        self.processes: int | None = None
        self.out_of_memory = 0
        self.refused_processes = 0


class Hierarchy:
    """One mounted tree of groups: its mount point, the folder of this process in it, and its controllers."""

    __slots__ = ("controllers", "own", "top", "unified")

    def __init__(self, top: str, own: str, controllers: frozenset[str], unified: bool) -> None:
        self.top = top
        self.own = own
        self.controllers = controllers
        self.unified = unified


def hierarchies(proc: str = "/proc/self") -> list[Hierarchy]:
    """Read where groups are mounted and where this process stands in each (cgroups(7), proc(5))."""
    own: dict[str, str] = {}
    for line in _lines(f"{proc}/cgroup"):
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(",") if names else [""], path)
    found: dict[str, Hierarchy] = {}
    for line in _lines(f"{proc}/mountinfo"):
        mount, _, kind = line.partition(" - ")
        root, top = mount.split(" ")[3:5]
        name, _, options = kind.split(" ", 2)
        if name == "cgroup2":
            names = frozenset(words(f"{top}/cgroup.controllers"))
            path = own.get("", "/")
        elif name == "cgroup":
            names = frozenset(options.split(",")) & frozenset(CONTROLLERS)
            path = next((own[one] for one in names if one in own), "/")
        else:
            continue
        inside = path[len(root.rstrip("/")) :] if path == root or path.startswith(root.rstrip("/") + "/") else ""
        found.setdefault(top, Hierarchy(top, (top + inside).rstrip("/"), names, name == "cgroup2"))
    return list(found.values())


def name_of(pid: int, proc: str = "/proc") -> str:
    """Give the name of a launcher's own group: its process, by number, start and namespace, so that nobody is mistaken.

    Raises `OSError` when there is no such process.
    """
    namespace = os.stat(f"{proc}/self/ns/pid").st_ino
    return f"superagent-{namespace}-{pid}-{started(pid, proc)}"


def started(pid: int, proc: str = "/proc") -> int:
    """Give when a process began, in ticks since the system started. Raises `OSError` when it is gone."""
    with open(f"{proc}/{pid}/stat", "rb") as file:
        state, *rest = file.read().rpartition(b") ")[2].split()
    if state in (b"Z", b"X"):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(rest[18])


def left_behind(found: list[Hierarchy], proc: str = "/proc") -> Iterator[str]:
    """Give the group folders of launchers that are dead."""
    for hierarchy in found:
        for path, folders, _ in os.walk(hierarchy.top):
            if path[len(hierarchy.top) :].count("/") >= _DEEPEST:
                folders.clear()
            for name in [one for one in folders if _NAME.fullmatch(one)]:
                folders.remove(name)
                if named_after_the_dead(name, proc):
                    yield f"{path}/{name}"


def named_after_the_dead(name: str, proc: str = "/proc") -> bool:
    """Tell whether a name is that of a launcher of this very pid namespace that lives no more, beyond doubt."""
    match = _NAME.fullmatch(name)
    if match is None or int(match[1]) != os.stat(f"{proc}/self/ns/pid").st_ino:
        return False
    try:
        return started(int(match[2]), proc) != int(match[3])
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False  # what cannot be looked at just now may live: to clear it away would end all its sandboxes


def clear(folder: str) -> bool:
    """Kill what runs in a group and its sub-groups and remove them; False when some of it would not go yet."""
    gone = True
    for path, folders, _ in os.walk(folder, topdown=False):
        del folders
        kill(path)
        gone = remove(path) and gone
    return gone


def kill(path: str) -> bool:
    """Send SIGKILL to all that runs in a group; True when nothing did."""
    try:
        put(f"{path}/cgroup.kill", "1")
        return not words(f"{path}/cgroup.procs")
    except OSError:
        pass  # only the unified hierarchy has it, from Linux 5.14 on
    members = words(f"{path}/cgroup.procs")
    for one in members:
        try:
            if int(one) > 0:  # a process that cannot be seen from here reads 0, and 0 would be all of our own group
                os.kill(int(one), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    return not members


def remove(path: str) -> bool:
    """Remove an empty group; False while something is in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def put(path: str, value: object) -> None:
    """Write one value to one of the kernel's files, which must be there. Raises `OSError`."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, str(value).encode())
    finally:
        os.close(file)


class Held:
    """The kernel's files of one group, each opened once: they are read while somebody waits for a command's end."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def number_in(self, path: str, key: str = "") -> int | None:
        """Read a number, of the line that begins with a key where there are several; None when it is not there."""
        try:
            file = self._files.get(path, -1)
            if file < 0:
                file = self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.pread(file, _MOST_READ, 0)
        except OSError:
            return None
        if key:
            words = found.decode().split()
            at = words.index(key) + 1 if key in words else len(words)
            return int(words[at]) if at < len(words) and words[at].isdigit() else None
        try:
            return int(found)
        except ValueError:  # such as `max`
            return None

    def close(self) -> None:
        """Close them; safe to repeat."""
        while self._files:
            os.close(self._files.popitem()[1])


def words(path: str) -> list[str]:
    """Read the words of one of the kernel's files; none where it is not there."""
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    # `open` asks the kernel five things before it reads, and this is read while somebody waits for a command's end
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    data = b""
    try:
        while more := os.read(file, 65_536):
            data += more
    except OSError:
        return []
    finally:
        os.close(file)
    return os.fsdecode(data).splitlines()
