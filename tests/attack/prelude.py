"""What runs every Python payload: a few names for it, and an end that says `ESCAPED` or `HELD`.

A payload that raises an `OSError` was refused; one that raises anything else is broken and shows nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn

S = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def escaped(what: object = "") -> NoReturn:
    os.write(1, f"\nESCAPED {what}\n".encode())
    os._exit(0)


def held(why: object = "") -> NoReturn:
    os.write(1, f"\nHELD {why}\n".encode())
    os._exit(0)


def call(name: str, *given: object) -> int:
    """Make a call of the kernel by name; integers are passed in all 64 bits."""
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(one) if isinstance(one, int) else one for one in given]
    answer = libc.syscall(ctypes.c_long(S["calls"][name]), *arguments)
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    return answer


def has_token(data: bytes) -> bool:
    return S["token"].encode() in data


def read(path: str) -> bytes:
    """Read the beginning of a file, without ever waiting for one that is a pipe or a terminal."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def each(paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Read what can be read of many files."""
    for path in paths:
        try:
            yield path, read(path)
        except OSError:
            continue


def processes() -> list[str]:
    return [f"/proc/{name}" for name in os.listdir("/proc") if name.isdigit()]


os.write(1, b"STARTED\n")
with open(S["workspace"] + "/.started", "w"):
    pass
try:
    exec(compile(sys.argv[2], "payload", "exec"))  # noqa: S102 - this is what it is for
except (OSError, MemoryError) as error:
    held(f"{type(error).__name__}: {error}")
held("nothing came of it")
