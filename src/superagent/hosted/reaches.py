"""Reaches: files, network, commands and secrets of one call in a hosted plugin, each asked of the server."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from superagent.core.carried import Answer, FoundFile
from superagent.core.commands import Command, Ran
from superagent.core.connections import Connected, Shown
from superagent.core.containment import Isolation
from superagent.core.principal import Secret
from superagent.core.problems import NotFound, Unavailable

Ask = Callable[..., Awaitable[Any]]
MAX_BYTES = 4 * 1024 * 1024
"""How much of a file or an answer goes over at once, bytes: a message holds it in base64."""

_NO_DESCRIPTORS = "use `read`, `write`, `list` and `delete`: they work the same way in both kinds of plugin"


class Files:
    """Whole files as data, as the server reads and writes them for the call."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def read(self, path: str, *, offset: int = 0, max_bytes: int = MAX_BYTES) -> bytes:
        """Give the bytes of a file from an offset on. Raises `NotFound`, `Denied`."""
        return base64.b64decode(await self._ask("files.read", path=path, offset=offset, max_bytes=max_bytes))

    async def write(self, path: str, data: bytes) -> None:
        """Replace or make a file, within `ctx.changing(path)`. Raises `NotFound`, `Denied`."""
        await self._ask("files.write", path=path, data=base64.b64encode(data).decode("ascii"))

    async def list(self, path: str) -> list[FoundFile]:
        """Give what lies in a folder and may be read, by name."""
        return msgspec.convert(await self._ask("files.list", path=path), list[FoundFile])

    async def delete(self, path: str) -> None:
        """Remove what stands at a path, within `ctx.changing(path, Effect.DESTROY)`."""
        await self._ask("files.delete", path=path)

    async def beneath(self, path: str, **_: Any) -> Any:
        """Refuse: an open folder of the machine would lead out of the sandbox."""
        raise Unavailable("a hosted plugin gets no descriptors", hint=_NO_DESCRIPTORS)


class Http:
    """The HTTP client of one call; the request itself is made by the server."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        content: bytes = b"",
        follow: int = 5,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Ask, and give the whole answer. Raises as `ctx.net.http.request` does."""
        said = await self._ask(
            "net.request",
            method=method,
            url=url,
            headers=[list(one) for one in headers],
            content=base64.b64encode(content).decode("ascii"),
            follow=follow,
            max_bytes=max_bytes,
            timeout_s=timeout_s,
        )
        body = base64.b64decode(said["body"])
        return Answer(said["status"], tuple((name, value) for name, value in said["headers"]), said["url"], body)


class Net:
    """The network of one call, by name."""

    def __init__(self, ask: Ask) -> None:
        self.http = Http(ask)

    def dial(self, host: str, port: int, *, timeout_s: float = 15.0) -> Any:
        """Refuse: bare connections are not carried to hosted plugins."""
        raise Unavailable("a hosted plugin has no bare connections", hint="use `ctx.net.http`")


class Run:
    """Commands of one call, each in a sandbox of its own."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def run(self, command: Command) -> Ran:
        """Run a command to its end in the caller's workspace."""
        plain = msgspec.to_builtins(command)
        for name in ("script", "stdin"):
            plain[name] = base64.b64encode(getattr(command, name)).decode("ascii")
        said = await self._ask("run.run", event=plain)
        said["isolation"] = msgspec.convert(said["isolation"], Isolation)
        return msgspec.convert(said, Ran)


class Secrets:
    """Secrets of one call; a process that was given one serves no other call."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def resolve(self, name: str, *, host: str = "", job: str = "") -> Secret:
        """Give the value behind a connection, or with `secret:NAME` a secret itself, for a host or a job."""
        return (await self.candidates(name, host=host, job=job))[0]

    async def candidates(self, name: str, *, host: str = "", job: str = "") -> list[Secret]:
        """Give the value in force and, while they overlap, the one it replaces."""
        found = [Secret(one) for one in await self._ask("secret.candidates", name=name, host=host, job=job)]
        if not found:
            raise NotFound(f"there is no secret behind `{name}`")
        return found

    async def header(self, name: str) -> Shown:
        """Give the header in which a connection shows its secret."""
        said = await self._ask("secret.header", name=name)
        return Shown(said["host"], said["header"], Secret(said["value"]))

    async def connection(self, name: str) -> Connected:
        """Give a connection without any value."""
        return msgspec.convert(await self._ask("secret.connection", name=name), Connected)
