"""The child between fork and exec: it joins its group, waits for its job, gives up its rights, becomes bubblewrap."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import resource
import select
import signal
import socket
from typing import Any, NoReturn

from superagent_launcher import brood, confined, landlock, system
from superagent_launcher.groups import Group
from superagent_launcher.overlay_mount import enter
from superagent_launcher.wire import Wire

STAGE = "/mnt"
"""Where folders are put for bubblewrap to reach them, in mounts that only the child sees: any folder will do."""

ENDED = b"\0"
"""Before what a keeper tells: exit code, processor time in seconds, most memory of one process in KiB."""

TENANT_PROCESSES = 8192
_ABOVE = 256  # beyond every number that a descriptor can be given
# what the launcher hears, what Python ignores by itself, and what whoever started the platform had ignored, as `nohup`
# does: who executes another program hands such things on
_FORGET = {
    signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ,
    *(one for one in signal.valid_signals() if signal.getsignal(one) is signal.SIG_IGN),
}  # fmt: skip


class Spare:
    """A child that was made before it is needed: it stands in a group of its own and waits for a job.

    Forking and joining a group take longer than all the rest, and the kernel may let a join wait for milliseconds.
    """

    __slots__ = ("group", "pid", "wire")

    def __init__(self, group: Group | None) -> None:
        self.group = group
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _be(theirs, group, parent)
            finally:  # whatever went wrong there: never a second launcher, to clear away what the first one has
                os.kill(os.getpid(), signal.SIGKILL)
        theirs.close()
        self.wire = Wire(ours)

    def give(self, job: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        """Give it its job; from then on the wire says what went wrong, and comes to its end when nothing did.

        The job says `argv`, `uid` (None keeps the launcher's user), `limits` (setrlimit(2), by number), `numbers`,
        `mounts` and `view`. The first descriptor is the program, then one for each number, one for each mount, and one
        on which a view in memory is handed out.

        What Landlock is to hold gets its `ground` first, which it can get long before its job: then it stands as its
        keeper with a child, to which the job goes, without a program. Raises `OSError` when the child is gone.
        """
        try:
            while not self.wire.send(job, descriptors):
                select.select([], [self.wire.socket], [])  # only a command of hundreds of kilobytes comes here
                job, descriptors = {}, ()
        except EOFError:
            raise ChildProcessError(self._reason() or "the child is gone") from None

    def _reason(self) -> str:
        """Give what it said before it went."""
        try:
            return self.wire.socket.recv(1000).decode("utf-8", "replace")
        except OSError:
            return ""

    def end(self) -> None:
        """End it without a job; it reads the end of its wire."""
        self.wire.close()


def _be(end: socket.socket, group: Group | None, parent: int) -> NoReturn:
    """Be the child; what goes wrong is said on the wire, which closes by itself when the program is executed."""
    try:
        end = socket.socket(fileno=_above(end.fileno()))
        signal.set_wakeup_fd(-1)
        for number in _FORGET:
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(end.fileno())
        system.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it died before the line above
        if group is not None:
            group.join()
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"1000")  # where memory runs out, this goes before anything else of this machine
        wire = Wire(end)
        job, descriptors = _job(wire)
        if "ground" in job:
            _stand(job["ground"], wire, parent)
        become(job, descriptors, parent)
    except EOFError:
        os._exit(0)  # nobody needs it
    except BaseException as bad:
        _say(end, bad)
    os._exit(1)


def _say(end: socket.socket, bad: BaseException) -> None:
    with contextlib.suppress(OSError):
        end.setblocking(True)
        end.send(str(bad).encode("utf-8", "replace")[:1000].replace(ENDED, b"") or b"no reason was given")


def _close_all_but(kept: int) -> None:
    """Close what this process has of its parent's, so that nobody waits for the end of something held here."""
    os.closerange(3, kept)
    os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _job(wire: Wire) -> tuple[dict[str, Any], list[int]]:
    while True:
        for job, descriptors in wire.receive():  # it may have come together with the one before
            return job, descriptors
        select.select([wire.socket], [], [])


def become(job: dict[str, Any], descriptors: list[int], parent: int) -> None:
    """Become bubblewrap; comes back only by raising `OSError`."""
    numbers: list[int] = job["numbers"]
    program, shown, rest = _above(descriptors[0]), descriptors[1 : 1 + len(numbers)], descriptors[1 + len(numbers) :]
    folders, telling = rest[: len(job["mounts"])], [_above(one) for one in rest[len(job["mounts"]) :]]
    if job["mounts"]:
        stage(list(zip(folders, job["mounts"], strict=True)))
    hand_over(dict(zip(numbers, shown, strict=True)))
    _limit(job["limits"])
    if job["uid"] is not None:
        drop(job["uid"])
    _refuse_root()
    if job.get("view") is not None:
        show(job["view"], telling)
    _execute(program, job["argv"], parent)


# what counts the lines that tests reach cannot write as another user, and ends where another program begins


def drop(uid: int) -> None:  # pragma: no cover
    """Become another user for good: no group is kept, and there is no way back."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise PermissionError(1, "the change of user did not hold")


def _stand(ground: dict[str, Any], wire: Wire, parent: int) -> NoReturn:
    """Become the keeper of a command that Landlock holds, with a child that is ready for its job."""
    if ground["uid"] is not None:  # pragma: no cover - what counts lines cannot write them as another user
        landlock.drop_capabilities()
        drop(ground["uid"])
    _refuse_root()
    system.not_dumpable()

    def ready() -> NoReturn:
        standing = confined.Standing(ground)
        _rehearse()
        try:
            job, places = _take(wire)
        except EOFError:
            os._exit(0)
        except BaseException as bad:
            _say(wire.socket, bad)
            os._exit(1)
        standing.become(job["confine"], job["argv"], places)

    def rehearse() -> None:
        ours, theirs = socket.socketpair()
        _tell(ours, 0)
        ours.close()
        theirs.close()

    code = brood.keep(ready, parent, rehearse)
    _tell(wire.socket, code)  # ending takes a process like this longer than most commands
    os._exit(code)


def _tell(end: socket.socket, code: int) -> None:
    """Say as a keeper that nothing is left, and what it all used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = f"{code} {used.ru_utime + used.ru_stime:.6f} {used.ru_maxrss}"
    with contextlib.suppress(OSError):
        end.send(ENDED + told.encode(), socket.MSG_NOSIGNAL)


def _take(wire: Wire) -> tuple[dict[str, Any], dict[str, int]]:
    """Wait for a job, take what it hands over and be limited as it says; gives it, and its folders by name."""
    job, descriptors = _job(wire)
    shown, folders = descriptors[: len(job["numbers"])], descriptors[len(job["numbers"]) :]
    places = {name: _above(one) for name, one in zip(job["mounts"], folders, strict=True)}
    hand_over(dict(zip(job["numbers"], shown, strict=True)))
    _limit(job["limits"])
    return job, places


def _rehearse() -> None:
    """Take a job that comes to nothing: memory that is first written to after a fork is copied, page by page."""
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    same = [(which, *resource.getrlimit(which)) for which in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)]
    job = {"argv": [""], "numbers": [0, 1], "mounts": ["rehearsed"], "limits": same, "confine": {"env": {"A": "a"}}}
    wire = Wire(ours)
    Wire(theirs).send(job, (null, null, null))
    _, places = _take(wire)
    for one in (null, *places.values()):
        os.close(one)
    wire.close()
    theirs.close()


def _limit(limits: list[list[int]]) -> None:
    for which, soft, hard in limits:
        _, most = resource.getrlimit(which)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(which, (soft, hard))


def _refuse_root() -> None:
    if 0 in (os.geteuid(), os.getuid(), os.getegid()):
        raise PermissionError(1, "nothing is started as user or group 0")


def show(view: dict[str, Any], telling: list[int]) -> None:  # pragma: no cover
    """Mount a view for bubblewrap to bind, and hand out the memory that takes what is written, if it has any."""
    memory = f"size={view['bytes']},nr_inodes={view['files']}" if view["bytes"] else ""
    folder = view["folder"]
    area = enter(view["lower"], f"{folder}/upper", f"{folder}/work", f"{folder}/merged", memory)
    if area >= 0:
        with socket.socket(fileno=telling[0]) as out:
            out.setblocking(True)
            socket.send_fds(out, [b"1"], [area])
        os.close(area)


def _execute(program: int, argv: list[str], parent: int) -> NoReturn:  # pragma: no cover
    system.die_with_parent(signal.SIGKILL)  # once more: the kernel forgets it with a change of user
    if os.getppid() != parent:
        os._exit(1)
    system.no_new_privileges()
    os.execve(program, argv, {})  # noqa: S606 - what was checked, by its descriptor


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
    moved = {number: _above(one) for number, one in handed.items()}
    for number, one in moved.items():
        os.dup2(one, number, inheritable=True)


def _above(descriptor: int) -> int:
    """Give a copy beyond every number that a descriptor can be given; it closes when a program is executed."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE)


def rlimits(limits: dict[str, float], groups: frozenset[str], *, as_tenant: bool) -> list[tuple[int, int, int]]:
    """Give the limits of each single process (setrlimit(2)): which, soft, hard.

    A group holds the same things for all of them together. The processor time has a second's grace between the signal
    that says why and the one that nobody can ignore.
    """
    cpu_s = max(1, math.ceil(limits["cpu_s"]))
    found = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 65_536,
        resource.RLIMIT_FSIZE: int(limits["file_bytes"]),
        resource.RLIMIT_NOFILE: max(128, int(limits["open_files"])),
    }
    if "memory" not in groups:
        found[resource.RLIMIT_DATA] = int(limits["memory_bytes"])
    if as_tenant:  # the kernel counts a user's processes, so this wall is one around all runs of a tenant
        found[resource.RLIMIT_NPROC] = TENANT_PROCESSES
    return [(resource.RLIMIT_CPU, cpu_s, cpu_s + 1), *((which, most, most) for which, most in found.items())]
