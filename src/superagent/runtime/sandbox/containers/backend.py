"""The back ends of level `container`: Docker, Podman, and gVisor as a runtime of Docker, by one HTTP API."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superagent.core.containment import Enforcement, Isolation
from superagent.core.grants import IsolationLevel
from superagent.core.problems import Problem, SandboxUnavailable
from superagent.runtime.sandbox.backend import Part, Probe, Start
from superagent.runtime.sandbox.containers.cures import cure_of
from superagent.runtime.sandbox.containers.engine import Attached, Engine, EngineRefusal
from superagent.runtime.sandbox.containers.examine import examine
from superagent.runtime.sandbox.containers.images import Images
from superagent.runtime.sandbox.containers.leftovers import Marks
from superagent.runtime.sandbox.containers.request import Inside, body, workspace_of
from superagent.runtime.sandbox.containers.run import ContainerRun, remove
from superagent.runtime.sandbox.containers.seccomp import profile_for
from superagent.runtime.sandbox.containers.sockets import look_at
from superagent.runtime.sandbox.containers.streams import Streams, content
from superagent.runtime.sandbox.native import check
from superagent.runtime.system_calls import O_PATH, RESOLVE_NO_SYMLINKS, openat2

MOST_PROCESSES = 4096
SWEEP_S = 2.0
KERNEL_PROCESSES = 96
"""What gVisor's own kernel needs beside the processes of a command, in threads of this machine."""

_HERE = -100  # AT_FDCWD: the paths are absolute


@dataclass(frozen=True, slots=True)
class Kind:
    """One back end: its name in results, where its engine's socket lies, its runtime (empty: the engine's own).

    `cure` says how to get an engine. `podman` is for what Podman answers otherwise than Docker.
    """

    name: str
    socket: str
    cure: str = ""
    runtime: str = ""
    podman: bool = False


class Containers:
    """Commands in containers of one engine. `probe_user` stands for nobody: what a probe runs as."""

    level: IsolationLevel = "container"

    def __init__(self, kind: Kind, images: Images, marks: Marks, probe_user: int | None = None) -> None:
        self.name = kind.name
        self._kind = kind
        self._images = images
        self._marks = marks
        self._probe_user = probe_user
        self._engine = Engine(kind.socket)
        self._facts: Mapping[str, Any] | None = None

    async def probe(self) -> Probe:
        """Look at the socket and the engine, then run the real profile on canaries."""
        part = self._socket()
        if not part.holds:
            return Probe(self.level, self.name, (part,))
        self._facts = None
        try:
            facts = await self._known()
        except SandboxUnavailable as problem:
            return Probe(self.level, self.name, (part, Part("engine", False, problem.detail, problem.hint or "")))
        await self._marks.sweep(self._engine)
        if self._kind.runtime and self._kind.runtime not in (facts.get("Runtimes") or {}):
            missing = f"the engine has no runtime `{self._kind.runtime}`"
            return Probe(self.level, self.name, (part, Part("runtime", False, missing, cure_of("unknown runtime"))))
        return await examine(
            self, part, self._probe_user,
            filtered=self._filtered, own_users=_rootless(facts), own_kernel=bool(self._kind.runtime),
        )  # fmt: skip

    async def start(self, start: Start) -> ContainerRun:
        """Start a command. Raises `SandboxUnavailable`, or `InvalidInput` for what no system could execute."""
        check(start)
        part = self._socket()
        if not part.holds:
            raise SandboxUnavailable(f"{part.name}: {part.seen}", hint=part.cure)
        facts = await self._known()
        if os.geteuid() == 0 and not start.user:
            raise SandboxUnavailable(
                "a server that runs as root needs users to run commands as", hint="set `sandbox.first_user`"
            )
        workspace = workspace_of(start)
        for folder in (*([workspace.source] if workspace else []), *(bind.host for bind in start.binds)):
            await asyncio.to_thread(_plain, folder)
        handed = await asyncio.to_thread(self._handed, start)
        streams = Streams(start)
        try:
            return await self._started(start, facts, streams, handed)
        except BaseException as bad:
            streams.close()
            await asyncio.to_thread(_unlink, handed)
            if isinstance(bad, EngineRefusal):
                raise SandboxUnavailable(f"{self.name} made no container: {bad.said}", hint=cure_of(bad.said)) from None
            raise

    async def _started(
        self, start: Start, facts: Mapping[str, Any], streams: Streams, handed: Mapping[int, str]
    ) -> ContainerRun:
        def asked(inside: Inside) -> dict[str, Any]:
            return self._body(start, facts, inside, streams, handed)

        try:
            container = await self._created(asked(await self._images.inside(self._engine)))
        except EngineRefusal as no:
            if not _without_image(no):
                raise
            # another server of this engine may have taken the image away just now: it is made again, once
            container = await self._created(asked(await self._images.inside(self._engine)))
        attached: Attached | None = None
        try:
            attached = await self._engine.attach(container, stdin=streams.has_input)
            await self._engine.ask("POST", f"/containers/{container}/start")
        except BaseException:
            if attached is not None:
                await attached.close()
            with suppress(Problem):
                await asyncio.shield(remove(self._engine, container))
            raise
        limits = start.profile.limits
        held = enforced(facts, filtered=self._filtered, own_kernel=bool(self._kind.runtime))
        isolation = Isolation(self.level, self.name, held, start.profile.network, limits.document())
        return ContainerRun(self._engine, container, attached, streams, isolation, lambda: _unlink(handed))

    async def _created(self, asked: Mapping[str, Any]) -> str:
        """Make a container and give its id; one that is made while its maker is cancelled goes again."""
        query = {"name": self._marks.name()}
        making = asyncio.ensure_future(self._engine.ask("POST", "/containers/create", asked, query=query))
        try:
            return str((await asyncio.shield(making))["Id"])
        except asyncio.CancelledError:
            await asyncio.shield(self._unmade(making))
            raise

    async def _unmade(self, making: asyncio.Future[Any]) -> None:
        with suppress(EngineRefusal, Problem):
            await remove(self._engine, str((await making)["Id"]))

    def _body(
        self, start: Start, facts: Mapping[str, Any], inside: Inside, streams: Streams, handed: Mapping[int, str]
    ) -> dict[str, Any]:
        uid, gid = (os.geteuid(), os.getegid()) if start.user is None else (start.user, start.user)
        namespace = "keep-id" if _rootless(facts) and self._kind.podman else ""
        return body(
            start, inside, user=f"{uid}:{gid}", filter=self._filter(start), labels=self._marks.labels(),
            stdin=streams.has_input, handed=handed, counts_processes=bool(facts.get("PidsLimit")),
            user_processes=_most_processes() if self._kind.podman else 0,
            spare_processes=KERNEL_PROCESSES if self._kind.runtime else 1,
            runtime=self._kind.runtime, namespace=namespace, podman=self._kind.podman,
        )  # fmt: skip

    @property
    def _filtered(self) -> bool:
        return not self._kind.runtime and profile_for(platform.machine(), unix=False) is not None

    def _filter(self, start: Start) -> str | None:
        """Give the filter of system calls; gVisor has none: commands do not speak to this machine's kernel."""
        if self._kind.runtime:
            return None
        # as at the native level: a socket in a folder of somebody's own could belong to a service of theirs
        unix = start.local_sockets and not start.binds
        profile = profile_for(platform.machine(), unix=unix)
        if profile is None or not self._kind.podman:
            return profile
        return self._marks.kept(f"filter-{'unix' if unix else 'inet'}.json", profile)

    def _socket(self) -> Part:
        return look_at(self._kind.socket, self._kind.cure)

    async def _known(self) -> Mapping[str, Any]:
        if self._facts is None:
            try:
                self._facts = await self._engine.ask("GET", "/info")
            except EngineRefusal as no:
                raise SandboxUnavailable(
                    f"the engine at `{self._kind.socket}` is too old, or none: {no.said}",
                    hint="Docker 20.10, Podman 4, or newer",
                ) from None
        assert self._facts is not None
        return self._facts

    def _handed(self, start: Start) -> dict[int, str]:
        """Lay down what the command is handed by number, where nobody but the engine reads it."""
        found: dict[int, str] = {}
        for number, descriptor in start.fds.items():
            place = self._marks.folder / f"{self._marks.name()}-{number}-{secrets.token_hex(8)}"
            self._marks.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_bytes(content(descriptor))
            place.chmod(0o444)  # the folder is closed; inside, a user reads it who is not this server's
            found[number] = str(place)
        return found

    async def sweep(self) -> int:
        """Remove what servers of this installation left that are no more, and say how much; takes little time."""
        if not self._socket().holds:
            return 0
        with suppress(TimeoutError):  # an engine that hangs must not hold up who asks; the next time is soon
            async with asyncio.timeout(SWEEP_S):
                return await self._marks.sweep(self._engine)
        return 0

    async def close(self) -> None:
        """Close the connections; commands that still run here were ended by whoever waits for them."""
        await self._engine.close()


def enforced(facts: Mapping[str, Any], *, filtered: bool, own_kernel: bool) -> dict[str, Enforcement]:
    """Say of each limit whether it holds, by what the engine says of itself; the probe tries the memory limit."""
    counted = bool(facts.get("CpuCfsQuota"))
    memory: Enforcement = "enforced" if facts.get("SwapLimit") else "partial"
    return {
        "wall": "enforced",
        "cpu": "enforced" if counted else "partial",
        "memory": memory if facts.get("MemoryLimit") else "none",
        # another kernel's own threads are counted with those of the command
        "processes": "enforced" if facts.get("PidsLimit") and not own_kernel else "partial",
        "cpus": ("partial" if own_kernel else "enforced") if counted else "none",  # it counts time its own way
        "file": "enforced",
        "open_files": "enforced",
        "output": "enforced",
        "scratch": "enforced",
        "disk": "none",
        # an engine mounts no folder so that device nodes in it are dead; the harmless ones of every `/dev` work there
        "devices": "partial",
        "system_calls": "enforced" if filtered else "none",
    }


def _without_image(no: EngineRefusal) -> bool:
    return no.status == 404 and "no such image" in no.said.lower()


def _most_processes() -> int:
    """Give how many processes one user may have: Podman sets a number of its own, above what some systems allow."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return MOST_PROCESSES if hard == resource.RLIM_INFINITY else min(hard, MOST_PROCESSES)


def _rootless(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("Rootless")) or any("rootless" in one for one in facts.get("SecurityOptions") or ())


def _plain(folder: str) -> None:
    """Look that no link leads elsewhere: the engine follows them, as root. Raises `SandboxUnavailable`."""
    try:
        os.close(openat2(_HERE, folder, O_PATH | os.O_CLOEXEC, RESOLVE_NO_SYMLINKS))
    except OSError as bad:
        raise SandboxUnavailable(f"`{folder}` cannot be opened: {bad.strerror}") from None


def _unlink(handed: Mapping[int, str]) -> None:
    for place in handed.values():
        Path(place).unlink(missing_ok=True)
