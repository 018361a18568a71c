"""Landlock and a system call filter: how a process confines itself where no namespace can be had.

Everything here is given up by the calling process for itself and all that descend from it, for good. It belongs into a
freshly forked child, after the change of user and before `execve`. See landlock(7) and seccomp(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import stat
import struct
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# one number on every architecture, since they came after the tables were unified
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << n for n in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15  # ABI 2, 3, 5
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1  # ABI 4
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1  # ABI 6

_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""What can be allowed for something that is no folder; the kernel refuses a rule with more."""

READING = _EXECUTE | _READ_FILE | _READ_DIR
WRITING = (
    READING | _WRITE_FILE | _TRUNCATE | _REFER
    | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
)  # fmt: skip
USING = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_EVERYTHING = WRITING | _MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 22, 2, 24, 38
_MOST_CAPABILITIES = 64
_ABOVE = 256

Place = str | int
"""A path, or a descriptor of a file or folder, which nobody can exchange meanwhile and which may be `O_PATH`."""


def abi() -> int:
    """Give the version of Landlock that this kernel enforces; 0 when it has none or was started without it."""
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))
    return max(0, version)


def confine(
    readable: Iterable[Place],
    writable: Iterable[Place],
    devices: Iterable[Place] = (),
    ports: Iterable[int] = (),
    program: bytes | None = None,
) -> None:
    """Confine this process to these files, these ports of TCP to call, and the calls that a cBPF program allows.

    What is `readable` can also be executed; in `writable` folders all can be done but make device nodes; `devices` are
    single files such as `/dev/null`. Everything else on the file system stays closed, except that its names can be
    looked up and, where the user owns it, its mode and times be changed. Ports hold from ABI 4, and only together with
    a filter that leaves no other way to talk; other processes are out of reach of signals from ABI 6. Raises `OSError`:
    when anything cannot be given up, nothing may be executed.
    """
    ruleset = Ruleset()
    try:
        for places, rights in ((readable, READING), (writable, WRITING), (devices, USING)):
            for place in places:
                ruleset.allow(place, rights)
        for port in ports:
            ruleset.allow_port(port)
        ruleset.enforce()
    finally:
        ruleset.close()
    if program is not None:
        filter_calls(program)


class Ruleset:
    """What is allowed, from nothing on: it holds nobody until it is enforced, and everything else is closed then.

    Raises `OSError`, as all of it does, where the kernel has no Landlock.
    """

    def __init__(self) -> None:
        version = abi()
        if version < 1:
            raise OSError(errno.EOPNOTSUPP, "landlock: the kernel does not enforce it")
        self._files, self._network, scopes = handled(version)
        made = _ruleset(version, self._files, self._network, scopes)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
        try:  # out of the way of the numbers under which a command sees its descriptors, as far as there are any
            self._descriptor = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, min(_ABOVE, most) if most >= 0 else _ABOVE)
        finally:
            os.close(made)

    def allow(self, place: Place, rights: int) -> None:
        """Allow rights in a folder and all beneath it, or what of them is one of a file."""
        _allow(self._descriptor, place, rights & self._files)

    def allow_those_there(self, places: Iterable[str], rights: int) -> None:
        """Allow rights in those of the places that there are."""
        for place in places:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self.allow(place, rights)

    def allow_port(self, port: int) -> None:
        """Allow to call a port of TCP, where that can be held."""
        if self._network:
            _add(self._descriptor, _RULE_NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port))

    def enforce(self) -> None:
        """Hold this process, and all that descend from it, for good."""
        no_new_privileges()
        held = _libc.syscall(_RESTRICT_SELF, ctypes.c_int(self._descriptor), ctypes.c_uint32(0))
        _done(held, "landlock_restrict_self")

    def close(self) -> None:
        """Close it; whom it holds stays held."""
        os.close(self._descriptor)


def handled(version: int) -> tuple[int, int, int]:
    """Give what a version can hold, as it is asked for: of files, of the network, and of other processes."""
    files = _EVERYTHING
    for first, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if version < first:
            files &= ~right
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    scopes = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= 6 else 0
    return files, network, scopes


def enforced(version: int, *, own_user: bool, tcp: bool) -> dict[str, str]:
    """Say what `confine` holds, each as `enforced`, `partial` or `none`, when it is given a filter for this level.

    `own_user` says that no file and no process of the host belongs to the user that the command runs as, and that
    `drop_capabilities` was called; `tcp` that it may call out. `names`: whether a file exists elsewhere, and its size;
    `metadata`: modes and times of files elsewhere; `devices`: nodes that somebody put into the workspace;
    `capabilities`: rights that set-uid programs could give, were they able to.
    """
    if version < 1:
        return dict.fromkeys(("files", "names", "metadata", "signals", "network", "ipc", "devices"), "none")
    return {
        "files": "enforced" if version >= 3 else "partial",  # before, what can be found can be emptied by its path
        "names": "partial",
        "metadata": "partial" if own_user else "none",
        "signals": "enforced" if version >= 6 else "partial" if own_user else "none",
        "network": "enforced" if not tcp or version >= 4 else "none",
        "ipc": "enforced",
        "devices": "partial",
        "capabilities": "enforced" if own_user else "partial",
    }


def drop_capabilities() -> None:
    """Empty the set of rights that any program could ever give; while this process is still root."""
    for number in range(_MOST_CAPABILITIES):
        if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
            _done(-1, "prctl(PR_CAPBSET_DROP)")


def no_new_privileges() -> None:
    """Give up for good that a program's own rights could raise ours; both confinements need it."""
    _done(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def filter_calls(program: bytes) -> None:
    """Answer kernel calls from now on as this cBPF program says (an array of `struct sock_filter`)."""
    given = _Program(len(program) // 8, program)
    no_new_privileges()
    _done(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(given), 0, 0), "prctl(PR_SET_SECCOMP)")


def _ruleset(version: int, files: int, network: int, scopes: int) -> int:
    # an older kernel refuses a longer structure, even if what is new in it is zero only where it knows of that rule
    words = (files,) if version < 4 else (files, network) if version < 6 else (files, network, scopes)
    given = struct.pack(f"={len(words)}Q", *words)
    made = _libc.syscall(_CREATE_RULESET, given, ctypes.c_size_t(len(given)), ctypes.c_uint32(0))
    return _done(made, "landlock_create_ruleset")


def _allow(ruleset: int, place: Place, rights: int) -> None:
    opened = os.open(place, os.O_PATH | os.O_CLOEXEC) if isinstance(place, str) else place
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _OF_FILES
        _add(ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, opened))
    finally:
        if isinstance(place, str):
            os.close(opened)


def _add(ruleset: int, kind: int, rule: bytes) -> None:
    added = _libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(kind), rule, ctypes.c_uint32(0))
    _done(added, "landlock_add_rule")


def _done(answer: int, what: str) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return answer
