"""The registry: an immutable snapshot of every operation; adding means making the next snapshot."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache

from superagent.core.operation import Operation
from superagent.core.policy import Policy
from superagent.core.principal import Principal
from superagent.core.problems import NotFound
from superagent.core.ranking import Index
from superagent.core.wording import Language

_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*){1,3}")
# the command line's own words: an operation `up.x` could never be typed
RESERVED_DOMAINS = frozenset(
    [
        *(
            "up",
            "worker",
            "node",
            "doctor",
            "call",
            "ops",
            "describe",
            "mcp",
            "connect",
            "backup",
            "restore",
            "recover",
        ),
        *("bench", "ask", "login", "keys", "help", "version"),
    ]
)
_LONGEST_TYPED = 80


class Registry:
    """Operations by name. `version` grows with each snapshot; an invocation keeps the one it was admitted with.

    `tools` holds the names by which models call them, and what each means; `language` is asked for at the first search.
    """

    def __init__(
        self, operations: Iterable[Operation], version: int = 1, language: Callable[[], Language] = Language
    ) -> None:
        self.version = version
        self.language = language
        self._by_name: dict[str, Operation] = {}
        self.tools: dict[str, str] = {}
        tools = self.tools
        for operation in operations:
            name = operation.name
            if not _NAME.fullmatch(name) or operation.domain in RESERVED_DOMAINS:
                raise TypeError(f"`{name}` cannot be an operation's name")
            tool = operation.tool
            if tool in tools:
                raise TypeError(f"`{name}` and `{tools[tool]}` would have one name for models")
            tools[tool] = name
            self._by_name[name] = operation

    @cached_property
    def _index(self) -> Index:
        return Index(self._by_name.values(), self.language())

    def prepare(self) -> None:
        """Make ready what is otherwise made at the first call of each operation, and at the first search."""
        _ = self._index
        for operation in self._by_name.values():
            operation.shape.prepare()

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Operation | None:
        """Give an operation, None when there is none of that name."""
        return self._by_name.get(name)

    def get(self, name: str) -> Operation:
        """Give an operation. Raises `NotFound`."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(f"there is no operation `{name[:200]}`", hint="`catalogue.search` finds operations by words")
        return found

    def visible_to(self, principal: Principal, policy: Policy) -> list[Operation]:
        """Give what a principal could be allowed or asked to do, by name."""
        return [one for _, one in sorted(self._by_name.items()) if policy.may_try(principal, one)]

    def close_to(self, name: str, among: Iterable[Operation]) -> list[Operation]:
        """Give those whose names are most like a mistyped one, out of what the caller may see."""
        if len(name) > _LONGEST_TYPED:  # comparing takes time, and no name is like it
            return []
        names = {one.name: one for one in among}
        plain = name.lower().replace("_", ".") if "." not in name else name.lower()  # models write dots as `_`
        return [names[one] for one in _most_like(plain, tuple(names))]

    def search(self, words: str, among: Iterable[Operation], limit: int = 20) -> list[Operation]:
        """Give the operations that fit the words best."""
        return self._index.search(words, among, limit)


@lru_cache(maxsize=256)  # a client that has a name wrong says it again and again, and comparing takes a millisecond
def _most_like(typed: str, names: tuple[str, ...]) -> list[str]:
    return difflib.get_close_matches(typed, names, n=3, cutoff=0.6)
