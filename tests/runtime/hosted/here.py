"""Installations with a plugin of somebody else's, hosted or trusted, and what they say of its calls."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome
from superagent.core.principal import Principal
from superagent.runtime.hosted import opening
from superagent.runtime.hosted.hosting import Hosting
from superagent.runtime.net.resolver import Resolve
from superagent.settings import load
from tests.needs import program

HERE = Path(__file__).parent


@dataclass
class Here:
    """An installation and its owner."""

    installation: Installation
    owner: Principal
    hosting: Hosting

    async def run(self, operation: str, by: Principal | None = None, **given: Any) -> Outcome:
        """Call an operation, as the owner unless somebody else is named; what begins with `_` is said of the call."""
        about = {name[1:]: value for name, value in given.items() if name.startswith("_")}
        input = {name: value for name, value in given.items() if not name.startswith("_")}
        return await self.installation.kernel.run(Call(operation, input, **about), by or self.owner, "cli")

    async def records(self, **wanted: Any) -> list[dict[str, Any]]:
        """Give the audit's records, oldest first."""
        found, _ = await self.installation.index.query("default", limit=1000, **wanted)
        return sorted(found, key=lambda one: (one["at"], one["seq"]))

    async def standing(self) -> dict[str, tuple[str, str]]:
        """Give how each plugin stands, and why."""
        listed = (await self.run("plugins.list")).result()["plugins"]
        return {one["name"]: (one["state"], one["why"]) for one in listed}

    async def refusals(self, operation: str = "plugins.asked") -> list[dict[str, Any]]:
        """Give the details of what was refused to plugins."""
        return [one["detail"] for one in await self.records(operation=operation) if one["kind"] == "refused"]

    async def ends(self) -> list[str]:
        """Give why processes of plugins ended."""
        return [one["detail"]["why"] for one in await self.records(operation="plugins.ended")]

    async def ends_after(self, before: int) -> list[str]:
        """Give why processes ended since so many had, once one more has."""
        async with asyncio.timeout(30):
            while not (found := (await self.ends())[before:]):
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def with_plugin(
    data: Path, *folders: Path, settings: str = "", resolve: Resolve | None = None, **plugins: list[str]
) -> AsyncGenerator[Here]:
    """Open an installation in which plugins' folders lie; `plugins` are the settings of that section."""
    program("bwrap", "bubblewrap")
    (data / "plugins").mkdir(parents=True, exist_ok=True)
    for folder in folders:
        place = data / "plugins" / folder.name
        if not place.exists():
            shutil.copytree(folder, place, ignore=shutil.ignore_patterns("__pycache__"))
    lines = [f"{name} = {json.dumps(value)}" for name, value in plugins.items()]
    (data / "superagent.toml").write_text("\n".join(["[plugins]", *lines, settings]) + "\n")
    made: list[Hosting] = []

    class Watched(Hosting):
        """The hosting of the installation, within reach."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "Hosting", Watched)
        async with open_installation(load(data, environ={}), resolve=resolve) as installation:
            yield Here(installation, await installation.owner(), made[0])


def plugin_in(folder: Path, source: str, **manifest: Any) -> Path:
    """Write a plugin: its folder's name is its own."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"name": folder.name, "version": "1.0", **manifest}
    (folder / "plugin.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items()))
    (folder / "operations.py").write_text(source)
    return folder
