"""Manifests: what `plugin.toml` says of a plugin, read without importing any of it, and where plugins are found."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from superagent.core.grants import Strict
from superagent.core.shape import faults_of
from superagent.hosted.words import REACHES

GROUP = "superagent.plugins"
FILE = "plugin.toml"
MOST_BYTES = 64 * 1024
MOST_FILES = 2000
MOST_FOLDER_BYTES = 64 * 1024 * 1024

NAME = re.compile(r"[a-z][a-z0-9]{1,39}")
_CALL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(what)
        return text

    return AfterValidator(check)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of what can be shown")
    return text


Name = Annotated[str, _matching(NAME, "a plugin's name is 2 to 40 small letters and digits")]
Called = Annotated[str, _matching(_CALL, "an operation, or `domain.*` for all of a domain")]
Distribution = Annotated[str, _matching(_DISTRIBUTION, "the name of a distribution"), Field(max_length=100)]
Module = Annotated[str, _matching(_MODULE, "a module's name, such as `operations`"), Field(max_length=200)]


class Manifest(Strict):
    """What a plugin says of itself before it is loaded.

    `module` holds its `Plugin`; `reaches` and `calls` are all that it may use, `extras` are further distributions that
    must be installed, `quality` is its author's own word.
    """

    name: Name
    version: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!-]*$")]
    summary: Annotated[str, AfterValidator(_printable), Field(max_length=200)] = ""
    module: Module = "operations"
    reaches: Annotated[list[Literal["files", "net", "run", "secret"]], Field(max_length=len(REACHES))] = []
    calls: Annotated[list[Called], Field(max_length=100)] = []
    extras: Annotated[list[Distribution], Field(max_length=50)] = []
    quality: Literal["experimental", "tried", "core"] = "experimental"


class Unfit(Exception):
    """This is no plugin that can be loaded; the text says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin where it lies: `folder` is its real path; `module` what to import, and whether from that folder."""

    manifest: Manifest
    folder: Path
    module: str
    own_folder: bool

    def digest(self) -> str:
        """Give the SHA-256 (hex) over all that the plugin's folder holds. Raises `Unfit`, `OSError`."""
        state, count, size = hashlib.sha256(), 0, 0
        for path in files_of(self.folder):
            count, size = count + 1, size + os.lstat(path).st_size
            if count > MOST_FILES or size > MOST_FOLDER_BYTES:
                raise Unfit(f"its folder holds more than {MOST_FILES} files or {MOST_FOLDER_BYTES} bytes")
            name = os.path.relpath(path, self.folder)
            state.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return state.hexdigest()


def files_of(folder: Path) -> Iterator[Path]:
    """Give the files of a plugin, in order. Raises `Unfit` for what is neither file nor folder: it leads elsewhere."""
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted([*folders, *files]):
            path = Path(at, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                raise Unfit(f"`{name[:80]}` in its folder is a link or something else that is no file")


def read_manifest(folder: Path) -> Manifest:
    """Read a plugin's manifest. Raises `Unfit` that names what is wrong with it."""
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unfit(f"`{FILE}` is no file")
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Unfit(f"`{FILE}` is longer than {MOST_BYTES} bytes")
        return Manifest.model_validate(tomllib.loads(data.decode()))
    except OSError as bad:
        raise Unfit(f"`{FILE}` cannot be read: {bad.strerror}") from None
    except ValidationError as bad:
        first = faults_of(bad)[0]
        raise Unfit(f"`{FILE}`: {first.path}: {first.message}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        raise Unfit(f"`{FILE}` is no TOML") from None


def in_folders(places: Iterable[Path]) -> Iterator[tuple[str, Found | Unfit]]:
    """Give what lies in folders of plugins, each by the name of its own folder."""
    for place in places:
        try:
            names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue  # no such folder: nobody has put anything there
        for name in names:
            folder = Path(os.path.realpath(place / name))
            if not (folder / FILE).exists():
                continue
            try:
                manifest = read_manifest(folder)
                if manifest.name != name:
                    raise Unfit(f"it is called `{manifest.name}`, its folder `{name[:80]}`")
                yield name, Found(manifest, folder, manifest.module, own_folder=True)
            except Unfit as bad:
                yield name, bad


def in_distributions() -> Iterator[tuple[str, Found | Unfit]]:
    """Give what installed distributions announce in the entry point group, without importing it."""
    for entry in importlib.metadata.entry_points(group=GROUP):
        module = entry.value.partition(":")[0].strip()
        package = module.rpartition(".")[0]
        try:
            if entry.dist is None or not _MODULE.fullmatch(module) or not package:
                raise Unfit(f"its entry point `{entry.value[:100]}` names no module in a package")
            folder = Path(os.path.realpath(str(entry.dist.locate_file(package.replace(".", "/")))))
            manifest = read_manifest(folder)
            if manifest.name != entry.name:
                raise Unfit(f"it is called `{manifest.name}`, its entry point `{entry.name[:80]}`")
            yield entry.name, Found(manifest, folder, module, own_folder=False)
        except Unfit as bad:
            yield entry.name, bad
