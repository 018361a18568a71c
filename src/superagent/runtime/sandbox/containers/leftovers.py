"""Leftovers: marks by which a container is known as ours, and the removal of what a killed server left behind."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.instance_lock import started
from superagent.runtime.sandbox.containers.engine import Engine, EngineRefusal
from superagent.runtime.sandbox.containers.run import remove

INSTALLATION = "superagent.installation"
PROCESS = "superagent.process"
_PROCESS = re.compile(r"(\d+)-(\d+)")
_HANDED = re.compile(r"superagent-[0-9a-f]+-(\d+)-(\d+)-\d+-\d+-[0-9a-f]+")


class Marks:
    """The marks of this process: `installation` tells this data folder from others that use the same engine.

    `folder` is where files lie that commands and engines are handed.
    """

    def __init__(self, installation: str, folder: Path) -> None:
        self._installation = installation
        self._process = f"{os.getpid()}-{started(os.getpid())}"
        self._numbers = itertools.count()
        self._kept: set[str] = set()
        self.folder = folder

    def name(self) -> str:
        """Give a name that nothing else has."""
        return f"superagent-{self._installation}-{self._process}-{next(self._numbers)}"

    def labels(self) -> dict[str, str]:
        """Give the labels of a container of this process."""
        return {INSTALLATION: self._installation, PROCESS: self._process}

    def kept(self, name: str, text: str) -> str:
        """Keep a text as a file that stays, and give its path: for engines that read it themselves."""
        place = self.folder / name
        if name not in self._kept:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = place.with_name(self.name())
            fresh.write_text(text, "ascii")
            os.replace(fresh, place)
            self._kept.add(name)
        return str(place)

    async def sweep(self, engine: Engine) -> int:
        """Remove containers and files of processes that are no more, and say how much; an engine may be gone."""
        removed = 0
        for place in self._files():
            place.unlink(missing_ok=True)
            removed += 1
        with suppress(EngineRefusal, SandboxUnavailable):
            filters = json.dumps({"label": [f"{INSTALLATION}={self._installation}"]})
            for one in await engine.ask("GET", "/containers/json", query={"all": "true", "filters": filters}):
                labels: dict[str, str] = one.get("Labels") or {}
                if _dead(labels.get(PROCESS, "")):
                    await remove(engine, one["Id"])
                    removed += 1
        return removed

    def _files(self) -> Iterable[Path]:
        if not self.folder.is_dir():
            return
        for place in self.folder.iterdir():
            found = _HANDED.fullmatch(place.name)
            if found and _dead(f"{found[1]}-{found[2]}"):
                yield place


def _dead(process: str) -> bool:
    found: Any = _PROCESS.fullmatch(process)
    return bool(found) and started(int(found[1])) != int(found[2])
