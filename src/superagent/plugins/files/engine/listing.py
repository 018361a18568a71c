"""Describing what stands at a place: type, size, mode, times, owner, attributes."""

from __future__ import annotations

import base64
import contextlib
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from datetime import UTC, datetime

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


@dataclass(frozen=True, slots=True)
class About:
    """What there is to know of a thing beyond its `stat`."""

    link: str | None
    owner: str
    group: str
    attributes: dict[str, str]


def kind(info: os.stat_result) -> str:
    """Name the kind: `file`, `directory`, `link`, `fifo`, `socket` or `device`."""
    return _KINDS.get(stat.S_IFMT(info.st_mode), "device")


def mode(info: os.stat_result) -> str:
    """Give the permission bits in octal, such as `0644`."""
    return f"{stat.S_IMODE(info.st_mode):04o}"


def moment(ns: int) -> str:
    """Give a time in nanoseconds since 1970 as RFC 3339 in UTC, to the microsecond."""
    return datetime.fromtimestamp(ns // 1000 / 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def link_target(dir_fd: int, name: str, info: os.stat_result) -> str | None:
    """Give where a link leads, as written; None for what is no link."""
    return shown(os.readlink(name, dir_fd=dir_fd)) if stat.S_ISLNK(info.st_mode) else None


def about(dir_fd: int, name: str, info: os.stat_result) -> About:
    """Look up owner, group, link target and extended attributes (text as it is, else base64 after `base64:`)."""
    owner, group = str(info.st_uid), str(info.st_gid)
    with contextlib.suppress(KeyError):
        owner = pwd.getpwuid(info.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(info.st_gid).gr_name
    path = f"/proc/self/fd/{dir_fd}/{name}"
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, AttributeError):
        for attribute in os.listxattr(path, follow_symlinks=False):
            found[attribute] = _value(os.getxattr(path, attribute, follow_symlinks=False))
    return About(link_target(dir_fd, name, info), owner, group, found)


def shown(path: str) -> str:
    """Give a name that can stand in JSON: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _value(value: bytes) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        text = value.decode()
        if text.isprintable():
            return text
    return "base64:" + base64.b64encode(value).decode()
