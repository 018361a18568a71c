"""Sessions: one run of the command line, with what was typed, where it shows and where its calls go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from superagent.surfaces.cli.launch import Launch
from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.target import Target
from superagent.surfaces.cli.terminal import Screen


class Session:
    """What every command gets; `given` grows as more of the command line is read."""

    def __init__(self, launch: Launch, screen: Screen, given: argparse.Namespace) -> None:
        self.launch = launch
        self.screen = screen
        self.given = given

    def read(self, parser: Parser, arguments: Sequence[str]) -> None:
        """Read what follows a command. Raises `Usage` or `Shown`."""
        self.given = parser.read(arguments, self.given)
        self.screen.json = getattr(self.given, "json", False)

    @contextmanager
    def target(self) -> Generator[Target]:
        """Open where the calls go, for as long as the body runs."""
        from superagent.surfaces.cli.where import reach

        target = reach(self.given, self.launch, self.screen)
        try:
            yield target
        finally:
            target.close()

    @property
    def asks(self) -> bool:
        """Tell whether somebody sits there who can be asked: programs want an answer, not a question."""
        return not self.screen.json and sys.stdin.isatty()

    @property
    def folder(self) -> Path:
        """Give the data folder."""
        return self.launch.data_folder(getattr(self.given, "data", ""))
