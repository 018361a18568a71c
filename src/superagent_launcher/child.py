"""The child between fork and exec: it joins its group, takes on its limits, gives up its rights, becomes bubblewrap."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Callable

from superagent_launcher import system

STAGE = "/mnt"
"""Where folders are put for bubblewrap to reach them, in mounts that only the child sees: any folder will do."""

TENANT_PROCESSES = 8192
_ABOVE = 256  # beyond every number that a descriptor can be given
_FORGET = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


class Child:
    """What the child needs; all of it was opened and made before the fork.

    `handed` maps each number to the descriptor that is to be seen under it. `mounts` are folders by descriptor and
    name. `uid` None keeps the launcher's own user, `join` None its groups.
    """

    __slots__ = ("argv", "handed", "join", "limits", "mounts", "parent", "program", "uid")

    def __init__(
        self,
        program: int,
        argv: list[str],
        handed: dict[int, int],
        mounts: list[tuple[int, str]],
        limits: dict[int, int],
        uid: int | None,
        join: Callable[[], None] | None,
    ) -> None:
        self.program = program
        self.argv = argv
        self.handed = handed
        self.mounts = mounts
        self.limits = limits
        self.uid = uid
        self.join = join
        self.parent = os.getpid()

    def become(self) -> None:
        """Become bubblewrap; comes back only by raising `OSError`."""
        signal.set_wakeup_fd(-1)
        for number in _FORGET:
            signal.signal(number, signal.SIG_DFL)
        if self.join is not None:
            self.join()
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"1000")
        if self.mounts:
            stage(self.mounts)
        hand_over(self.handed)
        for which, most in self.limits.items():
            _, hard = resource.getrlimit(which)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (least, least))
        if self.uid is not None:
            drop(self.uid)
        system.die_with_parent(signal.SIGKILL)  # after the change of user, which would have undone it
        if os.getppid() != self.parent:
            os._exit(1)  # it died before the line above
        if 0 in (os.geteuid(), os.getuid(), os.getegid()):
            raise PermissionError(1, "nothing is started as user or group 0")
        system.no_new_privileges()
        os.execve(self.program, self.argv, {})  # noqa: S606 - what was checked, by its descriptor


def stage(mounts: list[tuple[int, str]]) -> None:
    """Put folders, given by descriptor, where any user can reach them: their own place may lie in a closed folder."""
    copies = [(system.copy_of_mount(descriptor), name) for descriptor, name in mounts]
    system.own_mounts()
    system.mount_memory(STAGE, "mode=0755,size=64k,nr_inodes=256")
    for copy, name in copies:
        os.mkdir(f"{STAGE}/{name}", 0o755)
        system.attach(copy, f"{STAGE}/{name}")


def staging_works() -> bool:
    """Find out in a child whether folders can be put in place: root without all its rights cannot."""
    if os.geteuid() != 0:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            stage([(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "probe")])
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def hand_over(handed: dict[int, int]) -> None:
    """Show each descriptor under its number; every other closes by itself when the program is executed."""
    # out of the way first: what is to be seen as 0 may be what another one is seen from
    moved = {number: fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for number, one in handed.items()}
    for number, one in moved.items():
        os.dup2(one, number, inheritable=True)


def drop(uid: int) -> None:
    """Become another user for good: no group is kept, and there is no way back."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise PermissionError(1, "the change of user did not hold")


def rlimits(limits: dict[str, float], groups: frozenset[str], *, as_tenant: bool) -> dict[int, int]:
    """Give the limits of each single process (setrlimit(2)); a group holds the same things for all of them together."""
    found = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 65_536,
        resource.RLIMIT_FSIZE: int(limits["file_bytes"]),
        resource.RLIMIT_NOFILE: max(128, int(limits["open_files"])),
        resource.RLIMIT_CPU: max(1, int(limits["cpu_s"])),
    }
    if "memory" not in groups:
        found[resource.RLIMIT_DATA] = int(limits["memory_bytes"])
    if as_tenant:  # the kernel counts a user's processes, so this wall is one around all runs of a tenant
        found[resource.RLIMIT_NPROC] = TENANT_PROCESSES
    return found
