"""What a command in the sandbox may not ask of the kernel, what it is answered, and why.

Everything that is not refused here is allowed: the namespaces, the dropped capabilities and the file view hold the
rest, so that ordinary programs meet nothing unusual. A refusal answers an error number that programs know how to live
with; only calls of another architecture end the process, since no honest program makes one.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

NEWEST = 451
"""The newest call that was looked at (`cachestat`, Linux 6.5); what came later is answered `ENOSYS`.

Calls have one number on every architecture since 424. Without this line a new kernel would open, by itself, what nobody
has weighed: `fchmodat2` (452) plants set-uid files, `listmount` and `statmount` (457, 458) show the host's mounts,
`open_tree_attr` (467) joins two calls that are refused below. Programs that know such calls also run without them.
"""

_INT = 0xFFFF_FFFF
"""The kernel reads an `int` from the lower half of a register; whoever compares the upper half too can be fooled."""


@dataclass(frozen=True, slots=True)
class Equal:
    """The argument, after the mask, has exactly this value."""

    argument: int
    value: int
    mask: int = _INT


@dataclass(frozen=True, slots=True)
class Above:
    """The argument, in all its 64 bits, is above this value."""

    argument: int
    value: int


Condition = Equal | Above


@dataclass(frozen=True, slots=True)
class Refusal:
    """Calls that are answered with an error number when all conditions hold; without conditions, always."""

    calls: tuple[str, ...]
    answer: int
    why: str
    when: tuple[Condition, ...] = ()


_ALWAYS = (
    Refusal(
        (
            *("mount", "umount2", "pivot_root", "chroot"),
            *("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
        ),
        errno.EPERM,
        "changes what the files are; the newer half was a way out of containers (CVE-2022-0185)",
    ),
    Refusal(("setns", "unshare"), errno.EPERM, "enters or makes namespaces, where a user is root again"),
    Refusal(
        ("clone3",), errno.ENOSYS, "its flags lie in memory, where a filter cannot look; programs go back to clone"
    ),
    Refusal(
        ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
        errno.EPERM,
        "reaches into other processes; a debugger is a grant of its own",
    ),
    Refusal(("keyctl", "add_key", "request_key"), errno.EPERM, "the keyring belongs to the user, not to the namespace"),
    Refusal(("bpf", "perf_event_open"), errno.EPERM, "programs and counters inside the kernel"),
    Refusal(("userfaultfd",), errno.EPERM, "holds the kernel in the middle of a copy: what most exploits need"),
    Refusal(
        ("io_uring_setup", "io_uring_enter", "io_uring_register"),
        errno.EPERM,
        "does the work of other calls where no filter sees it",
    ),
    Refusal(("open_by_handle_at",), errno.EPERM, "opens a file by number, past every path (Docker's `shocker`, 2014)"),
    Refusal(("init_module", "finit_module", "delete_module"), errno.EPERM, "loads code into the kernel"),
    Refusal(("kexec_load", "kexec_file_load", "reboot"), errno.EPERM, "replaces or stops the kernel"),
    Refusal(("swapon", "swapoff", "quotactl", "quotactl_fd", "acct"), errno.EPERM, "settings of the whole machine"),
    Refusal(("settimeofday", "clock_settime"), errno.EPERM, "the clock of the whole machine"),
    Refusal(("iopl", "ioperm"), errno.EPERM, "talks to devices past the kernel"),
    Refusal(("syslog",), errno.EPERM, "the kernel's log tells of the host and of other sandboxes"),
)

_NEW_NAMESPACES = {
    "CLONE_NEWNS": 0x0002_0000,
    "CLONE_NEWCGROUP": 0x0200_0000,
    "CLONE_NEWUTS": 0x0400_0000,
    "CLONE_NEWIPC": 0x0800_0000,
    "CLONE_NEWUSER": 0x1000_0000,
    "CLONE_NEWPID": 0x2000_0000,
    "CLONE_NEWNET": 0x4000_0000,
}
_CLONES = tuple(
    Refusal(("clone",), errno.EPERM, f"{name}: a namespace in which the user is root again", (Equal(0, flag, flag),))
    for name, flag in _NEW_NAMESPACES.items()
)

_TERMINAL = tuple(
    Refusal(("ioctl",), errno.EPERM, why, (Equal(1, request),))
    for request, why in (
        (0x5412, "TIOCSTI types into the terminal of whoever started us (CVE-2017-5226, CVE-2019-10063)"),
        (0x541C, "TIOCLINUX pastes into the console (CVE-2023-28100)"),
        (0x5423, "TIOCSETD loads line disciplines of old hardware (CVE-2017-2636)"),
    )
)

_SET_UID = 0o4000
_CREATES = 0o100, 0o20000000  # O_CREAT, __O_TMPFILE: without one of them the mode is not read, and may be anything


def _set_uid(call: str, mode: int, *more: Condition) -> Refusal:
    why = "plants a file that runs as the sandbox's user for whoever on the host can reach it"
    return Refusal((call,), errno.EPERM, why, (Equal(mode, _SET_UID, _SET_UID), *more))


_PLANTED = (
    *(_set_uid(call, mode) for call, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("creat", 1))),
    *(_set_uid(call, mode) for call, mode in (("mknod", 1), ("mknodat", 2))),
    *(_set_uid("open", 2, Equal(1, flag, flag)) for flag in _CREATES),
    *(_set_uid("openat", 3, Equal(2, flag, flag)) for flag in _CREATES),
    Refusal(("openat2",), errno.ENOSYS, "its mode lies in memory, where no filter looks; programs go back to openat"),
)

_UNIX, _INET, _INET6 = 1, 2, 10
_STREAM, _DGRAM, _RAW = 1, 2, 3
_TYPE = 0xF
"""The kind of a socket without the flags that may be mixed in."""


def refusals(*, inet: bool, unix: bool) -> tuple[Refusal, ...]:
    """Give the table for a sandbox of namespaces; `inet` allows internet sockets, `unix` local sockets with a name."""
    return (*_ALWAYS, *_CLONES, *_TERMINAL, *_PLANTED, *_sockets(inet=inet, unix=unix), *_pairs(unix=unix))


def refusals_without_namespaces(*, tcp: bool) -> tuple[Refusal, ...]:
    """Give the table for a sandbox that shares the host's namespaces; `tcp` allows to call out by TCP, and only that.

    Which ports may be called is for others to hold, by address; here goes what would get past them.
    """
    return (*refusals(inet=tcp, unix=False), *_SHARED, *(_ONLY_TCP if tcp else ()))


def _sockets(*, inet: bool, unix: bool) -> tuple[Refusal, ...]:
    allowed = ({_INET, _INET6} if inet else set[int]()) | ({_UNIX} if unix else set[int]())
    why = "a way to talk that nobody granted: hypervisor, kernel, packets, radio"
    families = [
        Refusal(("socket",), errno.EAFNOSUPPORT, why, (Equal(0, family),))
        for family in range(max(_INET6, *allowed, 0) + 1)
        if family not in allowed
    ]
    # the kernel would cut a larger number to 32 bits; here all of it counts, so that none passes as an allowed one
    families.append(Refusal(("socket",), errno.EAFNOSUPPORT, why, (Above(0, _INET6),)))
    kinds = [
        Refusal(
            ("socket",),
            errno.ESOCKTNOSUPPORT,
            "only streams and datagrams: others are raw packets or load rare protocols (CVE-2017-6074)",
            (Equal(0, family), Equal(1, kind, _TYPE)),
        )
        for family in (_INET, _INET6)
        for kind in range(_TYPE + 1)
        if family in allowed and kind not in (_STREAM, _DGRAM)
    ]
    return (*families, *kinds)


def _pairs(*, unix: bool) -> tuple[Refusal, ...]:
    """Refuse what could be pointed elsewhere: a datagram socket sends to any name, also when it is one of a pair."""
    if unix:
        return ()
    return tuple(
        Refusal(
            ("socketpair",),
            errno.EAFNOSUPPORT,
            "a datagram socket of a pair still reaches every named one",
            (Equal(1, kind, _TYPE),),
        )
        for kind in (_DGRAM, _RAW)  # the kernel makes a datagram socket of a raw one
    )


def _of_others(call: str, argument: int) -> tuple[Refusal, ...]:
    """Refuse to name any process: 0 is the caller itself, every number may be somebody else's."""
    return (Refusal((call,), errno.EPERM, "sets how another process of the same user runs", (Above(argument, 0),)),)


_OWN_USER = {"setpriority": 2, "ioprio_set": 3}  # PRIO_USER, IOPRIO_WHO_USER: every process of the user at once

_SHARED = (
    Refusal(
        (
            *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
            *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"),
        ),
        errno.EPERM,
        "memory, locks and letters under a number or a name that the whole host shares",
    ),
    *_of_others("prlimit64", 0),
    *_of_others("setpriority", 1),
    *_of_others("ioprio_set", 1),
    *(
        refusal
        for call in ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
        for refusal in _of_others(call, 0)
    ),
    *(
        Refusal((call,), errno.EPERM, "sets how every process of the same user runs", (Equal(0, whose),))
        for call, whose in _OWN_USER.items()
    ),
)

_FAST_OPEN = 0x2000_0000  # MSG_FASTOPEN
_TCP = 6

_ONLY_TCP = (
    *(
        Refusal(("socket",), errno.EPERM, "datagrams go to any address", (Equal(0, family), Equal(1, _DGRAM, _TYPE)))
        for family in (_INET, _INET6)
    ),
    # what is neither 0 nor 6: other protocols carry streams too, and rules for TCP do not see them (multipath TCP, SMC)
    *(Refusal(("socket",), errno.EPROTONOSUPPORT, "another protocol than TCP", (Equal(2, n),)) for n in range(1, _TCP)),
    Refusal(("socket",), errno.EPROTONOSUPPORT, "another protocol than TCP", (Above(2, _TCP),)),
    *(
        Refusal((call,), errno.EPERM, "calls out without asking to connect", (Equal(flags, _FAST_OPEN, _FAST_OPEN),))
        for call, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
    ),
    Refusal(("listen",), errno.EPERM, "takes a free port by itself, which no rule for binding sees"),
)
