"""One process in detail: what it has open, what it may use, where it belongs."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from .serving import IoClass, served

MOST_FILES = 1000
MOST_SOCKETS = 1000
_LIMITS = {
    name: getattr(resource, f"RLIMIT_{name.upper()}")
    for name in ("cpu", "fsize", "data", "stack", "core", "nproc", "nofile", "memlock", "as")
}


@dataclass(slots=True)
class Detail:
    """What could be read; `unseen` names what the system did not show, `hidden` counts files that must not be told."""

    folder: str | None = None
    program: str | None = None
    files: list[str] = field(default_factory=list[str])
    hidden: int = 0
    sockets: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    variables: list[str] = field(default_factory=list[str])
    limits: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    groups: list[str] = field(default_factory=list[str])
    nice: int | None = None
    io_class: IoClass | None = None
    descriptors: int | None = None
    unseen: list[str] = field(default_factory=list[str])


def detail_of(pid: int, may_path: Callable[[str], bool]) -> Detail:
    """Read a process; paths are told only where `may_path` allows. Of its variables only the names are read out.

    The caller holds the process and looks afterwards whether it still was the same. Raises `psutil.NoSuchProcess`.
    """
    process, found = psutil.Process(pid), Detail()

    def read(what: str, look: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return look()
        except (psutil.AccessDenied, PermissionError):
            found.unseen.append(what)
        except (psutil.ZombieProcess, FileNotFoundError, ProcessLookupError):
            pass
        return otherwise

    def told(path: str | None) -> str | None:
        if not path:
            return None
        path = os.fsencode(path).decode("utf-8", "backslashreplace")
        if may_path(path):
            return path
        found.hidden += 1
        return None

    found.folder = told(read("folder", process.cwd, None))
    found.program = told(read("program", process.exe, None))
    opened = read("files", process.open_files, [])
    found.files = [path for one in opened[:MOST_FILES] if (path := told(one.path)) is not None]
    found.sockets = [_socket(one) for one in read("sockets", process.net_connections, [])[:MOST_SOCKETS]]
    found.variables = read("variables", lambda: _variables(pid), [])
    found.limits = {
        name: list(pair)
        for name, which in _LIMITS.items()
        if (pair := read("limits", lambda which=which: process.rlimit(which), None)) is not None
    }
    found.groups = read("groups", lambda: _lines(f"/proc/{pid}/cgroup"), [])
    how = read("priority", lambda: served(pid), None)
    found.nice, found.io_class = (how.nice, how.io_name) if how is not None else (None, None)
    found.descriptors = read("descriptors", process.num_fds, None)
    found.unseen = list(dict.fromkeys(found.unseen))
    return found


def _socket(one: Any) -> dict[str, Any]:
    return {
        "family": one.family.name.removeprefix("AF_").lower(),
        "type": one.type.name.removeprefix("SOCK_").lower(),
        "local": _address(one.laddr),
        "remote": _address(one.raddr),
        "state": one.status.lower(),
    }


def _address(one: Any) -> str:
    if not one:
        return ""
    return one if isinstance(one, str) else f"{one.ip}:{one.port}"


def _variables(pid: int) -> list[str]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        data = file.read(1024 * 1024)
    names = [entry.partition(b"=")[0] for entry in data.split(b"\0") if b"=" in entry]
    return [name.decode("utf-8", "backslashreplace") for name in names]


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        return file.read().splitlines()
