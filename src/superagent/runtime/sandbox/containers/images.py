"""Images: what containers are made from. An image of the settings, or none: then the programs of this machine."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.bubblewrap import Mount
from superagent.runtime.sandbox.containers.engine import Engine, EngineRefusal
from superagent.runtime.sandbox.containers.request import Inside
from superagent.runtime.sandbox.root_tree import RootTree, RootTrees

OWN = "superagent-root-"
"""How the names of images begin that are made here: roots without programs, over which `/usr` is mounted.

The rest of the name tells the state of this machine; Podman gives an archive no tag of our choice.
"""

KEPT = 4
INITS = ("/usr/bin/tini", "/usr/bin/docker-init", "/usr/bin/catatonit", "/usr/libexec/podman/catatonit")
"""What can be the first process, as distributions install it: all of them take `-- COMMAND`."""

SAYING = ("/bin/sh", "-c", 'exec "$@"', "sh")
"""What stands before a command where the first process tells a missing program like one that failed (catatonit)."""


class Images(Protocol):
    """Where the image of a back end comes from."""

    async def inside(self, engine: Engine) -> Inside:
        """Give what containers are made from. Raises `SandboxUnavailable` with what to do, and `EngineRefusal`."""
        ...


class NamedImage:
    """An image that the settings name; it is never fetched, since what runs here is the administrator's choice."""

    def __init__(self, name: str, visible: tuple[str, ...]) -> None:
        self._name = name
        self._mounts = tuple(Mount(one, one) for one in visible)

    async def inside(self, engine: Engine) -> Inside:
        """Give what containers are made from. Raises `SandboxUnavailable` when the image is not there."""
        found = await _found(engine, self._name)
        if found is None:
            raise SandboxUnavailable(
                f"the image `{self._name}` is not on this machine",
                hint=f"`docker pull {self._name}` or `podman pull {self._name}`, or leave `sandbox.image` empty",
            )
        config: Mapping[str, Any] = found.get("Config") or {}
        volumes = tuple(sorted(config.get("Volumes") or ()))
        path = any(one.startswith("PATH=") for one in config.get("Env") or ())
        return Inside(found["Id"], self._mounts, volumes, path)


class OwnImage:
    """A root like that of the native level, as an image of a few files; what is installed here is seen inside."""

    def __init__(self, trees: RootTrees, visible: tuple[str, ...]) -> None:
        self._trees = trees
        self._visible = visible
        self._making = asyncio.Lock()

    async def inside(self, engine: Engine) -> Inside:
        """Give what containers are made from; makes the image where it is missing.

        The engine's own first process would lie under what is mounted over `/usr`, so one that is installed serves.
        Raises `SandboxUnavailable` when none is, and `EngineRefusal`.
        """
        init = next((one for one in INITS if os.access(one, os.X_OK)), None)
        if init is None:
            raise SandboxUnavailable(
                "nothing installed here can be the first process of a container",
                hint="`apt install tini`, or set `sandbox.image`",
            )
        tree = await asyncio.to_thread(self._trees.current)
        mounts = (*tree.mounted, *((one, one) for one in self._visible))
        async with self._making:
            found = await _found(engine, f"{OWN}{tree.folder.name}")
            if found is None:
                found = await self._made(engine, tree)
        saying = SAYING if init.endswith("/catatonit") else ()
        first = (init, "--", *saying)
        return Inside(found["Id"], tuple(Mount(host, inside) for host, inside in mounts), init=first)

    async def _made(self, engine: Engine, tree: RootTree) -> Any:
        name = tree.folder.name
        archive = await asyncio.to_thread(packed, tree.folder)
        await engine.send("/images/create", archive, {"fromSrc": "-", "repo": OWN + name, "tag": "latest"})
        found = await _found(engine, f"{OWN}{name}")
        if found is None:
            raise SandboxUnavailable("the engine took an image and does not have it", hint="see the engine's log")
        await _prune(engine, found["Id"])
        return found


def packed(folder: Path) -> bytes:
    """Pack a folder as root's."""
    into = io.BytesIO()

    def roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(fileobj=into, mode="w") as tar:
        tar.add(folder, ".", filter=roots)
    return into.getvalue()


async def _found(engine: Engine, name: str) -> Any:
    try:
        return await engine.ask("GET", f"/images/{name}/json")
    except EngineRefusal as no:
        if no.status == 404:
            return None
        raise


async def _prune(engine: Engine, made: str) -> None:
    """Remove roots of earlier states of this machine; the engine keeps what a container still uses.

    What was just `made` stays in any case: engines tell the time of an image in seconds, and clocks are set back.
    """
    listed = await engine.ask("GET", "/images/json")
    own = [one for one in listed if any(OWN in name for name in one.get("RepoTags") or ())]
    earlier = [one for one in own if one["Id"] != made]
    for old in sorted(earlier, key=lambda one: one["Created"], reverse=True)[KEPT - 1 :]:
        with suppress(EngineRefusal):
            await engine.ask("DELETE", f"/images/{old['Id']}")
