"""Reel: what is shown while the story goes on, its words and its pictures; what differs between runs stays out."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chromium import Chromium

WIDTH, HEIGHT = 1180, 640
MARK = '<!-- written by `make film ARGS="--out docs"`: change film/ instead -->'
_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")


@dataclass
class Reel:
    """A page in the making; `echo` says each piece on the terminal as well."""

    folder: Path
    echo: bool = True
    plain: dict[str, str] = field(default_factory=dict[str, str])
    _pieces: list[str] = field(default_factory=list[str])

    def say(self, text: str) -> None:
        """Add a paragraph or a heading."""
        self._add(text)

    def code(self, text: str, kind: str = "text") -> None:
        """Add what was typed, sent or answered."""
        self._add(f"```{kind}\n{self.without_chance(text).rstrip()}\n```")

    def json(self, value: Any) -> None:
        """Add a document."""
        self.code(json.dumps(value, indent=2, ensure_ascii=False), "json")

    def picture(self, browser: Chromium, name: str, what: str) -> None:
        """Add what the browser shows at this moment."""
        (self.folder / "film").mkdir(parents=True, exist_ok=True)
        shot = browser.say("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        (self.folder / "film" / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
        self._add(f"![{what}](film/{name}.png)")

    def without_chance(self, text: str) -> str:
        """Replace what is another in each run: ids, places, ports."""
        for found, shown in self.plain.items():
            text = text.replace(found, shown)
        return _ID.sub("01K…", text)

    def text(self) -> str:
        """Give the whole page."""
        return "\n\n".join(self._pieces) + "\n"

    def write(self) -> Path:
        """Put the page where its pictures lie, and tell where."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page = self.folder / "film.md"
        page.write_text(self.text(), "utf-8")
        return page

    def _add(self, piece: str) -> None:
        self._pieces.append(piece)
        if self.echo:
            print(piece, end="\n\n", flush=True)
