"""What a parser finds in one file: the words in which the parsers of all languages answer. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Import:
    """Something that the file takes from elsewhere: the module, and the names out of it."""

    module: str
    names: list[str]
    line: int


@dataclass
class Definition:
    """Something that the file defines; `name` has the names around it, with dots."""

    name: str
    kind: str
    line: int
    end_line: int
    signature: str = ""
    doc: str = ""
    test: bool = False


@dataclass
class Use:
    """A place where a name is used: called, or only named. `sure` says that imports lead to the defining module."""

    name: str
    line: int
    within: str
    kind: str
    test: bool = False
    module: str = ""


@dataclass
class Outline:
    """All that was found; `fault` says what the parser could not read."""

    imports: list[Import] = field(default_factory=list[Import])
    definitions: list[Definition] = field(default_factory=list[Definition])
    uses: list[Use] = field(default_factory=list[Use])
    fault: str = ""
