"""The native profile run directly: bubblewrap with every namespace, the shipped filter and small limits."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from superagent.runtime.sandbox.filters.shipped import filter_for
from tests.attack.cgroup import cgroup
from tests.attack.runner import Ask, Ended, Held, Limits, Refused, User
from tests.attack.running import Step, run
from tests.needs import program

INSIDE = "/workspace"
TMP_BYTES = 64 << 20
PASSWD = b"root:x:0:0:root:/root:/bin/false\nsandbox:x:1000:1000:sandbox:/workspace:/bin/sh\n"
RLIMITS = ("processes", "cpu_s", "file_bytes", "open_files", "locked_bytes")


@dataclass(frozen=True, slots=True)
class Native:
    """Bubblewrap as the launcher starts it; `ordinary` has neither control groups nor a quota."""

    user: User
    uid: int

    @property
    def setting(self) -> str:
        return f"native-{self.user}"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with sized_workspace(self.uid, sized=self.user == "root") as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return INSIDE

    async def contained(self, ask: Ask) -> Ended:
        refuse_zero_bytes((*ask.argv, ask.cwd, *ask.env, *ask.env.values()))
        rlimits = {name: getattr(ask.limits, name) for name in RLIMITS}
        if self.user == "ordinary":
            rlimits["memory_bytes"] = ask.limits.memory_bytes
        with ExitStack() as stack:
            fds = [stack.enter_context(memory_file(filter_for(platform.machine(), unix=True)))]
            fds.append(stack.enter_context(memory_file(PASSWD)))
            options = b"".join(os.fsencode(option) + b"\0" for option in bwrap_options(ask, *fds))
            fds.append(stack.enter_context(memory_file(options)))
            name = f"superagent-attack-{os.getpid()}-{id(ask)}"
            group = stack.enter_context(cgroup(name, ask.limits) if self.user == "root" else nullcontext())
            argv = (program("bwrap", "bubblewrap"), "--args", str(fds[-1]), "--", *ask.argv)
            step = Step(argv, self.uid, {}, "/", [str(folder) for folder in group.folders] if group else (), rlimits)
            watch = asyncio.create_task(group.watch()) if group else None
            try:
                ended = await run(
                    step,
                    wall_s=ask.limits.wall_s,
                    stdin=ask.stdin,
                    terminal=ask.terminal,
                    output_bytes=ask.limits.output_bytes,
                    pass_fds=fds,
                    end=group.kill if group else lambda: None,
                )
            finally:
                if watch is not None:
                    watch.cancel()
                    with suppress(asyncio.CancelledError):
                        await watch
        return Ended(ended.code, ended.stdout, ended.stderr, ended.seconds, reported(self.user))


def reported(user: User) -> dict[str, Held]:
    """Say how far each limit is held: without root there is neither a control group nor a quota."""
    only_root: Held = "enforced" if user == "root" else "partial"
    return {
        **dict.fromkeys(("processes", "file", "open_files", "output", "wall"), "enforced"),
        **dict.fromkeys(("names", "metadata", "ipc", "devices", "capabilities"), "enforced"),
        **dict.fromkeys(("memory", "cpu"), only_root),
        **dict.fromkeys(("cpus", "disk"), "enforced" if user == "root" else "none"),
    }


def bwrap_options(ask: Ask, filter_fd: int, passwd_fd: int) -> Sequence[str]:
    return [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--disable-userns", "--die-with-parent", "--new-session", "--uid", "1000", "--gid", "1000"),
        *("--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"),
        *("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", INSIDE, "--setenv", "LANG", "C.UTF-8"),
        *(part for name, value in ask.env.items() for part in ("--setenv", name, value)),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--ro-bind-try", "/etc/alternatives", "/etc/alternatives"),
        *("--ro-bind-data", str(passwd_fd), "/etc/passwd"),
        *("--dev", "/dev", "--size", str(TMP_BYTES), "--tmpfs", "/dev/shm"),
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"),
        *("--bind", str(ask.workspace), INSIDE, "--chdir", ask.cwd or INSIDE, "--remount-ro", "/"),
        *("--seccomp", str(filter_fd)),
    ]


def refuse_zero_bytes(texts: Sequence[str]) -> None:
    """Refuse what would end one option and begin another where options are separated by a zero byte."""
    if any("\0" in text for text in texts):
        raise Refused("a zero byte in an argument, a variable or a path")


@contextmanager
def memory_file(content: bytes) -> Generator[int]:
    """Give a descriptor that reads as this content; each start needs its own, since it is read to its end."""
    fd = os.memfd_create("sandbox")
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def sized_workspace(uid: int, *, sized: bool) -> Generator[Path]:
    """Give a folder of the sandbox's user, on a small filesystem of its own where root can make one."""
    limits = Limits()
    with tempfile.TemporaryDirectory(prefix="attack-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if not sized:
            if os.geteuid() == 0:
                os.chown(folder, uid, uid)
            folder.chmod(0o755)
            yield folder
            return
        options = f"size={limits.disk_bytes},nr_inodes={limits.inodes},uid={uid},gid={uid},mode=755,nosuid,nodev"
        mount, umount = program("mount"), program("umount")
        subprocess.run([mount, "-t", "tmpfs", "-o", options, "attack", name], check=True, timeout=10)
        try:
            yield folder
        finally:
            subprocess.run([umount, "--lazy", name], check=True, timeout=10)
