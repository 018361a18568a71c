"""Build the shipped filters from the table with libseccomp: `python -m superagent.runtime.sandbox.filters.build`.

Only developers and CI run this, on any architecture; a test compares the bytes. The library is Debian 12's
`libseccomp2`, spoken to by ctypes, so that neither a compiler nor a package of bindings is needed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from superagent.runtime.sandbox.filters.rules import (
    NEWEST,
    Above,
    Condition,
    Equal,
    Refusal,
    refusals,
    refusals_without_namespaces,
)
from superagent.runtime.sandbox.filters.shipped import FOLDER, MACHINES, name_of, shared_name_of

MADE_WITH = (2, 5, 4)
"""The library's version that wrote the shipped files; another one may order the same checks differently."""

ALLOW = 0x7FFF_0000
KILL_PROCESS = 0x8000_0000
ERRNO = 0x0005_0000  # libseccomp's SCMP_ACT_ERRNO and the kernel's SECCOMP_RET_ERRNO are the same number

_TOKENS = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # AUDIT_ARCH_* of linux/audit.h
_BAD_ARCHITECTURE = 2  # SCMP_FLTATR_ACT_BADARCH
_MASKED_EQUAL, _GREATER = 7, 6  # enum scmp_compare
_X32 = 0x4000_0000  # the bit that marks a call of x32


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


def library() -> ctypes.CDLL | None:
    """Load libseccomp; None when it is not installed."""
    name = ctypes.util.find_library("seccomp")
    if name is None:
        return None
    lib = ctypes.CDLL(name)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_version.restype = ctypes.POINTER(_Version)
    return lib


def version(lib: ctypes.CDLL) -> tuple[int, int, int]:
    """Give the version of the library."""
    found = lib.seccomp_version().contents
    return (found.major, found.minor, found.micro)


def build(lib: ctypes.CDLL, machine: str, table: tuple[Refusal, ...]) -> bytes:
    """Give the filter program for one machine; raises `OSError` when the library refuses a rule."""
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(ALLOW)))
    try:
        token = _TOKENS[machine]
        native = lib.seccomp_arch_native
        native.restype = ctypes.c_uint32
        if native() != token:
            _done(lib.seccomp_arch_remove(context, native()), "remove the own architecture")
            _done(lib.seccomp_arch_add(context, ctypes.c_uint32(token)), machine)
        _done(lib.seccomp_attr_set(context, _BAD_ARCHITECTURE, ctypes.c_uint32(KILL_PROCESS)), "foreign calls")
        for refusal in table:
            comparisons = (_Comparison * len(refusal.when))(*map(_comparison, refusal.when))
            for call in refusal.calls:
                number = lib.seccomp_syscall_resolve_name(call.encode())
                added = lib.seccomp_rule_add_array(
                    context, ctypes.c_uint32(ERRNO | refusal.answer), number, len(comparisons), comparisons
                )
                # a call that this machine does not have cannot be made there either
                if added not in (0, -errno.EDOM):
                    _done(added, f"{call} on {machine}")
        return _prelude(token) + _exported(lib, context)
    finally:
        lib.seccomp_release(context)


def every() -> Iterator[tuple[str, str, tuple[Refusal, ...]]]:
    """Give every filter that is shipped, as file name, machine and table."""
    for machine in MACHINES:
        for one in (False, True):
            yield shared_name_of(machine, tcp=one), machine, refusals_without_namespaces(tcp=one)
            for other in (False, True):
                yield name_of(machine, inet=one, unix=other), machine, refusals(inet=one, unix=other)


def main(folder: Path = FOLDER) -> None:
    """Write all files anew; raises `SystemExit` when the library is missing or another version."""
    lib = library()
    if lib is None or version(lib) != MADE_WITH:
        raise SystemExit(f"the filters are made with libseccomp {'.'.join(map(str, MADE_WITH))} (apt: libseccomp2)")
    for name, machine, table in every():
        (folder / name).write_bytes(build(lib, machine, table))


def _comparison(condition: Condition) -> _Comparison:
    match condition:
        case Equal(argument, value, mask):
            return _Comparison(argument, _MASKED_EQUAL, mask, value)
        case Above(argument, value):
            return _Comparison(argument, _GREATER, value, 0)


def _prelude(token: int) -> bytes:
    """Answer `ENOSYS` to calls newer than the table, which the library cannot say; jumps count from the next line."""
    load, equal, at_least, above, answer = 0x20, 0x15, 0x35, 0x25, 0x06
    lines = (
        (load, 0, 0, 4),  # the architecture
        (equal, 0, 4, token),  # a foreign one: let the main part kill it
        (load, 0, 0, 0),  # the call's number
        (at_least, 2, 0, _X32),  # x32: likewise
        (above, 0, 1, NEWEST),
        (answer, 0, 0, ERRNO | errno.ENOSYS),
    )
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _exported(lib: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    with tempfile.TemporaryFile() as file:
        _done(lib.seccomp_export_bpf(context, file.fileno()), "export")
        file.seek(0)
        return file.read()


def _done(code: int, what: str) -> None:
    if code:
        raise OSError(-code, f"libseccomp: {os.strerror(-code)}", what)


if __name__ == "__main__":
    main()
