"""Sockets of engines: where they lie, and who else could answer there or ask there."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from superagent.runtime.sandbox.backend import Part

DOCKER = "/run/docker.sock"
_ALMIGHTY = "whoever may write to it is root on this machine"


def podman_socket() -> str:
    """Give where Podman's socket lies for this user by default."""
    if os.geteuid() == 0:
        return "/run/podman/podman.sock"
    return f"/run/user/{os.geteuid()}/podman/podman.sock"


def look_at(path: str, cure: str) -> Part:
    """Say whether a socket can be trusted and used; `cure` says how to get one that is not there.

    An engine answers for the containment of everything, so nobody but root and this server's own user may be able to
    put another in its place, and not everybody may be its master.
    """
    name = "engine socket"
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Part(name, False, f"`{path}` is not there", cure)
    except OSError as bad:
        return Part(name, False, f"`{path}` cannot be looked at: {bad.strerror}", cure)
    if not stat.S_ISSOCK(found.st_mode):
        return Part(name, False, f"`{path}` is no socket", cure)
    ours = (0, os.geteuid())
    if found.st_uid not in ours:
        return Part(name, False, f"`{path}` belongs to user {found.st_uid}, who could answer for anything", cure)
    if found.st_mode & stat.S_IWOTH:
        return Part(
            name, False, f"everybody on this machine may write to `{path}`: {_ALMIGHTY}", f"`chmod o= {path}`, now"
        )
    for folder in Path(os.path.realpath(path)).parents:
        above = folder.stat()
        if above.st_uid not in ours or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
            return Part(
                name, False, f"others may put another socket in the place of `{path}`: see who may write `{folder}`",
                "let the socket lie where only root, or only this user, may write",
            )  # fmt: skip
    if not os.access(path, os.W_OK):
        return Part(
            name, False, f"this user may not write to `{path}`",
            f"use rootless Podman, or let this user into the group of the socket, knowing that {_ALMIGHTY}",
        )  # fmt: skip
    return Part(name, True, _held(path, found))


def _held(path: str, found: os.stat_result) -> str:
    if not found.st_mode & stat.S_IWGRP or found.st_gid == 0:
        return "held"
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f"held; the group `{group}` may write to it too, and {_ALMIGHTY}"
