"""Faces: how operations are shown to agents, where their names and types do not say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_PLACE = re.compile(r"\{(\+?)([a-z][a-z0-9_]*)\}")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^\s{}]*(\{\+?[a-z][a-z0-9_]*\}[^\s{}]*)*")
_TOOL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,39}")


@dataclass(frozen=True)
class Face:
    """How an operation is shown to agents.

    `tool` is the name by which models call it. `uri` is the template of the resources that it reads: each name in
    braces is one of its arguments, and `{+name}` may hold slashes. `prompt` says that the messages it gives begin a
    conversation. `rules` are keywords of JSON Schema about several arguments at once; the operation itself checks them.
    """

    tool: str = ""
    uri: str = ""
    prompt: bool = False
    rules: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.tool and not _TOOL.fullmatch(self.tool):
            raise TypeError(f"`{self.tool}` is no name for a tool: up to 40 letters, digits, `_` and `-`")
        if self.uri and not _URI.fullmatch(self.uri):
            raise TypeError(f"`{self.uri}` is no template of a URI")

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Give the arguments that stand in the URI, in order."""
        return tuple(name for _, name in _PLACE.findall(self.uri))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts, at = list[str](), 0
        for place in _PLACE.finditer(self.uri):
            several, name = place.groups()
            parts += [re.escape(self.uri[at : place.start()]), f"(?P<{name}>{'.+' if several else '[^/]+'})"]
            at = place.end()
        return re.compile("".join([*parts, re.escape(self.uri[at:])]), re.DOTALL)

    def read(self, uri: str) -> dict[str, str] | None:
        """Give the arguments that a URI says, None when it is none of these."""
        found = self._pattern.fullmatch(uri) if self.uri else None
        return None if found is None else found.groupdict()


PLAIN = Face()
