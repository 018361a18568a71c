"""The table of tools, as `tools.toml` has it: which program does what for which language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

Purpose = Literal["run", "test", "lint", "format", "fix"]
PURPOSES: tuple[Purpose, ...] = ("run", "test", "lint", "format", "fix")


@dataclass(frozen=True, slots=True)
class Language:
    """A language: extensions of its files, and the files that mark a project of it."""

    name: str
    extensions: tuple[str, ...]
    markers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool; the fields are explained at the head of `tools.toml`."""

    name: str
    does: tuple[Purpose, ...]
    languages: tuple[str, ...]
    argv: tuple[str, ...]
    install: str
    program: tuple[str, ...] = ()
    module: str = ""
    configured: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    folder: tuple[str, ...] = ("{path}",)
    file: tuple[str, ...] = ("{path}",)
    select: tuple[str, ...] = ()
    coverage: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    reads: str = ""
    report: bool = False
    stream: Literal["output", "errors"] = "output"
    script: str = ""
    fine: tuple[int, ...] = (0,)
    files_only: bool = False
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """All languages by name, and all tools in order of preference."""

    languages: Mapping[str, Language]
    tools: tuple[ToolRow, ...]

    def of(self, purpose: Purpose, language: str) -> list[ToolRow]:
        """Give the tools for a purpose and a language, the preferred one first."""
        return [one for one in self.tools if purpose in one.does and language in one.languages]

    def named(self, purpose: Purpose, name: str) -> list[ToolRow]:
        """Give the tools of this name for a purpose."""
        return [one for one in self.tools if purpose in one.does and one.name == name]

    def language_of(self, path: str) -> str:
        """Give the language of a file by its name, empty when the table has none for it."""
        ending = path.rpartition("/")[2].rpartition(".")[2]
        return next((one.name for one in self.languages.values() if ending in one.extensions), "")


@cache
def table() -> Table:
    """Read the table that comes with the plugin."""
    found = tomllib.loads((Path(__file__).parent.parent / "tools.toml").read_text("utf-8"))
    languages = {
        name: Language(name, tuple(one["extensions"]), tuple(one["markers"])) for name, one in found["language"].items()
    }
    return Table(languages, tuple(_row(one) for one in found["tool"]))


def _row(found: dict[str, Any]) -> ToolRow:
    values: dict[str, Any] = {}
    for key, value in found.items():
        values[key] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
    return ToolRow(**values)
