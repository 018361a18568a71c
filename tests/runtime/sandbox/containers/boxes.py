"""A container back end over a real engine, and commands run in it as an operation would."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from superagent.core.commands import Captured, Ended
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.containers.backend import Containers
from superagent.runtime.sandbox.containers.chosen import back_ends
from superagent.runtime.sandbox.containers.engine import Engine
from superagent.runtime.sandbox.containers.run import ContainerRun
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.settings import Sandbox
from tests.needs import program
from tests.runtime.sandbox.here import PROFILE, USER, nowhere


@dataclass
class Boxes:
    """A back end, the engine behind it, and a workspace."""

    containers: Containers
    engine: Engine
    workspace: Path
    state: Path
    running: list[ContainerRun] = field(default_factory=list[ContainerRun])

    async def start(self, *argv: str, stdin: bytes = b"", pipes: Pipes | None = None, **fields: Any) -> ContainerRun:
        """Start a command; without pipes, nobody reads what it writes."""
        own = pipes or Pipes(65_536, nowhere)
        own.give(stdin)
        given: dict[str, Any] = {
            "profile": PROFILE, "tenant": "t", "workspace": str(self.workspace), "user": USER, "fds": own.further,
            "stdin": own.stdin, "stdout": own.stdout.writing, "stderr": own.stderr.writing, **fields,
        }  # fmt: skip
        try:
            run = await self.containers.start(Start(argv, **given))
        except BaseException:
            own.discard()
            raise
        if pipes is None:
            own.discard()
        self.running.append(run)
        return run

    async def run(
        self, *argv: str, output_bytes: int = 10**9, inline: int = 65_536, script: bytes = b"", **fields: Any
    ) -> tuple[Ended, Captured, Captured]:
        """Run a command to its end and give how it ended and what it wrote."""
        pipes = Pipes(inline, nowhere)
        if script:
            pipes.show(9, script)
        return await pipes.carry(await self.start(*argv, pipes=pipes, **fields), output_bytes)

    async def said(self, script: str, **fields: Any) -> str:
        """Run a script of sh that must end well, and give what it wrote."""
        ended, stdout, stderr = await self.run("sh", "-c", script, **fields)
        assert ended.code == 0, (ended, stderr.text)
        return stdout.text

    async def left(self) -> list[Any]:
        """Give the containers that the engine knows of ours."""
        filters = json.dumps({"label": ["superagent.installation"]})
        return await self.engine.ask("GET", "/containers/json", query={"all": "true", "filters": filters})


@asynccontextmanager
async def boxes(name: str, socket: str, folder: Path, **settings: Any) -> AsyncGenerator[Boxes]:
    """Open a back end while the body runs."""
    workspace = folder / "workspace"
    workspace.mkdir()
    if USER is not None:
        os.chown(workspace, USER, USER)
    state = folder / "state"
    chosen = Sandbox(backends=[name], docker_socket=socket, podman_socket=socket, **settings)
    visible = tuple(chosen.visible)
    (containers,) = back_ends(chosen, state, RootTrees(folder / "roots", visible), visible, USER)
    engine = Engine(socket)
    try:
        yield Boxes(containers, engine, workspace, state)
    finally:
        await engine.close()
        await containers.close()


def image_of(*programs: str, mark: str = "") -> bytes:
    """Pack programs of this machine with what they load, as an image of their own, unlike any with another mark."""
    found = [program(name) for name in programs]
    listed = subprocess.run(["ldd", *found], capture_output=True, text=True, timeout=20, check=True).stdout
    files = {*found, *(word for word in listed.replace(":", " ").split() if word.startswith("/"))}
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", dereference=True) as tar:
        for name in files:
            tar.add(name)
        tar.addfile(tarfile.TarInfo(f"mark-{mark}"))
    return into.getvalue()
