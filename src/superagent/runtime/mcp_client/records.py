"""Records: a file for each connected server: how it is reached, its pinned tools, and what people said of them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from superagent.runtime.key_files import sync_folder
from superagent.runtime.mcp_client.messages import Document

State = Literal["unknown", "assigned", "changed", "gone", "unfit"]
"""`unknown`: nobody said what it does, so each call asks. `assigned`: a person did. `changed`: it describes itself
otherwise than when a person looked, and is not called. `gone`: its server has it no more. `unfit`: no operation."""


class Tool(msgspec.Struct, frozen=True):
    """One tool: `said` is what its server said of it when it was pinned, and `digest` names that.

    `effect` and `risk` are a person's word (empty: none yet), `summary` what the person calls it; so is `asks_first`,
    that it asks its questions before it has changed anything. `now` is the digest
    of what the server says at present, and `offered` those words, where they are others.
    """

    name: str
    operation: str
    digest: str
    said: Document
    state: State = "unknown"
    why: str = ""
    effect: str = ""
    risk: str = ""
    summary: str = ""
    by: str = ""
    now: str = ""
    offered: Document = {}
    asks_first: bool = False


class Server(msgspec.Struct, frozen=True):
    """One server: by `command` (with `folder`, its own files) or `url`, never both; `turn` counts its changes.

    `login` is the connection that opens it, empty for none; `login_host` where that leads, if elsewhere.
    """

    name: str
    command: list[str] = []
    folder: str = ""
    url: str = ""
    host: str = ""
    called: str = ""
    by: str = ""
    at: float = 0.0
    turn: int = 1
    tools: list[Tool] = []
    login: str = ""
    login_host: str = ""

    def tool(self, name: str) -> Tool | None:
        """Give a tool by its server's own name for it."""
        return next((one for one in self.tools if one.name == name), None)


class Records:
    """The files, in a folder that no grant reaches. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Name the state of a server's file, None for none: other workers change it too."""
        try:
            found = os.stat(self._folder / f"{name}.json")
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def names(self) -> list[str]:
        """Give the names of all servers."""
        try:
            return sorted(one.name[:-5] for one in os.scandir(self._folder) if one.name.endswith(".json"))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> Server | None:
        """Give a server, None where there is none. Raises `msgspec.DecodeError` for a file that is none of ours."""
        try:
            return msgspec.json.decode((self._folder / f"{name}.json").read_bytes(), type=Server)
        except FileNotFoundError:
            return None

    def write(self, server: Server) -> None:
        """Write a server, whole or not at all, durable on return."""
        put(self._folder / f"{server.name}.json", msgspec.json.encode(server))

    def remove(self, name: str) -> None:
        """Remove a server's file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / f"{name}.json")
        with contextlib.suppress(FileNotFoundError):
            sync_folder(self._folder)


def put(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, durable on return; its folder is made where there is none."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, suffix=".new")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    sync_folder(path.parent)


def document_of(server: Server | None) -> Any:
    """Give a server as plain data, for what undo keeps."""
    return msgspec.to_builtins(server)


def server_of(data: Any) -> Server | None:
    """Give a server from plain data."""
    return None if data is None else msgspec.convert(data, Server)
