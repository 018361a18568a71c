"""Loading: every third-party plugin that the installation names, in this process or hosted, and what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from superagent.core.plugin import Plugin
from superagent.core.problems import InvalidInput, Problem
from superagent.core.registry import RESERVED_DOMAINS, Registry
from superagent.hosted import words
from superagent.hosted.importing import import_plugin
from superagent.runtime.hosted.call import shown
from superagent.runtime.hosted.channel import Ended
from superagent.runtime.hosted.declared import plugin_of
from superagent.runtime.hosted.doing import HostedRuns
from superagent.runtime.hosted.hosting import Hosting
from superagent.runtime.hosted.manifests import NAME, Found, Manifest, Unfit, in_distributions, in_folders
from superagent.runtime.hosted.process import digest_of
from superagent.runtime.hosted.quarters import stamp
from superagent.settings import Plugins

State = Literal["trusted", "hosted", "off", "refused"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A plugin and how it stands: `why` says what stands against it where it is refused."""

    name: str
    state: State
    manifest: Manifest | None = None
    why: str = ""
    operations: tuple[str, ...] = ()


class _Remembered(msgspec.Struct):
    key: str
    declaration: words.Declaration


def allowed(setting: Iterable[str]) -> dict[str, frozenset[str]]:
    """Read the setting `plugins.hosted`: `NAME` or `NAME: reach call:operation …`, by name. Raises `InvalidInput`."""
    found: dict[str, frozenset[str]] = {}
    for line in setting:
        name, _, given = line.partition(":")
        name = name.strip()
        wanted = frozenset(given.split())
        odd = [one for one in wanted if one not in words.REACHES and not one.startswith("call:")]
        if not NAME.fullmatch(name) or odd or name in found:
            raise InvalidInput(
                f"`plugins.hosted`: `{line[:100]}` does not say once what a plugin may",
                hint=f"such as `notes: files call:files.read`; reaches are {', '.join(words.REACHES)}",
            )
        found[name] = wanted
    return found


def covers(given: str, wanted: str) -> bool:
    """Tell whether what a setting gives includes what a manifest wants; `call:git.*` gives all of a domain."""
    return given == wanted or (given.startswith("call:") and given.endswith(".*") and wanted.startswith(given[:-1]))


class Loading:
    """The third-party plugins of an installation: `folders` hold plugins, `hosted` and `trusted` name what is loaded.

    `user` is who a plugin runs as while it only declares itself. `memory` is where declarations are remembered.
    `upcoming` gives what settings say for the next start.
    """

    def __init__(
        self,
        hosting: Hosting,
        memory: Path,
        folders: Iterable[Path],
        hosted: Mapping[str, frozenset[str]],
        trusted: frozenset[str],
        user: int | None,
        upcoming: Callable[[], Plugins],
    ) -> None:
        self._hosting = hosting
        self._memory = memory
        self._folders = tuple(folders)
        self._hosted = hosted
        self._trusted = trusted
        self._user = user
        self._upcoming = upcoming
        self._taken: frozenset[str] = frozenset()
        self._loaded: dict[str, Standing] = {}

    async def load(self, built_in: Iterable[Plugin]) -> list[Plugin]:
        """Load what the settings name; what is unfit is left out, and `listed` says why.

        Where they name nothing, nothing is looked for either: a command line has no time for it.
        """
        if not self._hosted and not self._trusted:
            return []
        operations = [operation for plugin in built_in for operation in plugin.compile()]
        self._taken = RESERVED_DOMAINS | {one.domain for one in operations} | _domains_of_roles()
        plugins: list[Plugin] = []
        for name, one in await self._found():
            if name not in self._trusted and name not in self._hosted:
                continue
            manifest = one.manifest if isinstance(one, Found) else None
            try:
                if isinstance(one, Unfit):
                    raise one
                if name in self._loaded:
                    raise Unfit("there is another plugin of this name")
                plugin = await self._one(one)
                made = plugin.compile()
                Registry([*operations, *made])  # refuses names that are somebody else's
            except (Unfit, TypeError, Ended, Problem, OSError) as bad:
                why = bad.told if isinstance(bad, Ended) else str(bad)
                self._loaded[name] = Standing(name[:80], "refused", manifest, shown(why, 500))
                plugins = [one for one in plugins if one.name != name]  # of two of a name, neither
                continue
            operations += made
            plugins.append(plugin)
            state: State = "trusted" if name in self._trusted else "hosted"
            self._loaded[name] = Standing(name, state, manifest, "", tuple(sorted(op.name for op in made)))
        for name in sorted((self._trusted | self._hosted.keys()) - self._loaded.keys()):
            self._loaded[name] = Standing(name[:80], "refused", None, "there is no such plugin")
        for standing in self._loaded.values():
            self._hosting.loaded(standing.name, standing.state, standing.why)
        return plugins

    def taken(self, built_in: Iterable[Plugin]) -> frozenset[str]:
        """Give the names that nothing else can bear: the platform's own, and those of plugins that settings name."""
        domains = {one.name.partition(".")[0] for plugin in built_in for one in plugin.declared}
        return RESERVED_DOMAINS | domains | _domains_of_roles() | self._trusted | self._hosted.keys()

    async def listed(self) -> list[Standing]:
        """Give every plugin that is there, loaded or not, by name."""
        found = {
            name: replace(one, why=self._hosting.trouble(name)) if one.state == "hosted" else one
            for name, one in self._loaded.items()
        }
        later = self._upcoming()
        named = {line.partition(":")[0].strip() for line in later.hosted} | set(later.trusted)
        for name, one in await self._found():
            if name in found:
                continue
            if isinstance(one, Found):
                why = "the settings name it by now: it is loaded at the next start"
                found[name] = Standing(name, "off", one.manifest, why if name in named else "no setting names it")
            else:
                found[name] = Standing(shown(name, 80), "refused", None, shown(str(one), 500))
        return [standing for _, standing in sorted(found.items())]

    async def sweep(self) -> int:
        """End the processes that nobody has used for a while."""
        return await self._hosting.sweep()

    async def _found(self) -> list[tuple[str, Found | Unfit]]:
        return await asyncio.to_thread(lambda: [*in_folders(self._folders), *in_distributions()])

    async def _one(self, found: Found) -> Plugin:
        manifest = found.manifest
        if manifest.name in self._taken:
            raise Unfit("its name belongs to the platform")
        for one in manifest.extras:
            try:
                importlib.metadata.distribution(one)
            except importlib.metadata.PackageNotFoundError:
                raise Unfit(f"it needs `{one}`, which is not installed beside the server") from None
        if manifest.name in self._trusted:
            return _imported(found)
        wanted = sorted({*manifest.reaches, *(f"call:{one}" for one in manifest.calls)})
        for one in wanted:
            if not any(covers(given, one) for given in self._hosted[manifest.name]):
                raise Unfit(f"it wants `{one}`, which the setting `plugins.hosted` does not give it")
        runs = HostedRuns(self._hosting, found)
        declaration = await self._declaration(found)
        runs.digest = digest_of(declaration)
        plugin, _ = plugin_of(declaration, manifest.name, manifest.reaches, runs)
        return plugin

    async def _declaration(self, found: Found) -> words.Declaration:
        """Give what a plugin declares: as remembered, if nothing of it changed since, else as it says itself."""
        key = f"{await asyncio.to_thread(found.digest)} {stamp()}"
        place = self._memory / f"{found.manifest.name}.json"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            remembered = msgspec.json.decode(place.read_bytes(), type=_Remembered)
            if remembered.key == key:
                return remembered.declaration
        declaration = await self._hosting.declaration(found, "system", self._user)
        self._memory.mkdir(mode=0o700, exist_ok=True)
        fresh = place.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(_Remembered(key, declaration)))
        os.replace(fresh, place)
        return declaration


def _imported(found: Found) -> Plugin:
    """Import a trusted plugin here. Raises `Unfit` for whatever goes wrong in it."""
    folder = str(found.folder) if found.own_folder else ""
    try:
        plugin = import_plugin(found.manifest.name, found.module, folder)
    except Exception as bug:  # somebody else's code, which must not stop the server
        raise Unfit(f"importing it failed: {type(bug).__name__}: {bug}") from bug
    if beyond := sorted(set(plugin.reaches) - set(found.manifest.reaches)):
        raise Unfit(f"it reaches `{beyond[0]}`, which its manifest does not say")
    return plugin


def _domains_of_roles() -> set[str]:
    """Give the domains that built-in roles speak of: a plugin of that name would get what was meant for another."""
    roles = tomllib.loads(files("superagent.runtime").joinpath("roles.toml").read_text("utf-8"))
    named = [one for grants in roles.values() for grant in grants for one in grant["operations"]]
    return {one.partition(".")[0] for one in named} - {"*"}
