"""The home of an installation: where its data folder lies, so that a restored copy knows that it is one.

Files are named by their full path, in grants and for undo: what was kept in one place means the files of that place,
also where the folder was restored beside it. `state/home` names the place that the folder was last opened in.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from superagent.core.problems import Unavailable
from superagent.runtime.key_files import sync_folder, write_new

NAME = "home"


class Place(msgspec.Struct, frozen=True):
    """Where a data folder lies: its real path, and the device and inode of its `state`.

    `original` is the place of which this one is a copy, empty for none; `since` when it was first opened here (epoch
    seconds): what was kept before that is the original's.
    """

    path: str
    device: int
    inode: int
    original: str = ""
    since: float = 0.0


class Home:
    """The home of one installation; all processes that have it open share the file."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file = data / "state" / NAME

    def enter(self, now: float) -> Place:
        """Note that the installation is opened here, and give its place. Raises `Unavailable` when that cannot be."""
        place = self.look(now)
        if place != self._read():
            self._write(place)
        return place

    def look(self, now: float) -> Place:
        """Give the place that `enter` would note, without noting it.

        A folder under its old path is at home, from whatever backup it came. One that has another path, and is not the
        very folder that was noted, is a copy: what was moved, or is mounted elsewhere, keeps its inode.
        """
        found = os.stat(self._file.parent)
        path, here = os.path.realpath(self._data), (found.st_dev, found.st_ino)
        noted = self._read()
        if noted is None:
            return Place(path, *here)
        if path == noted.path or here == (noted.device, noted.inode):
            return Place(path, *here, noted.original, noted.since)
        return Place(path, *here, noted.path, now)

    def copied(self) -> tuple[str, float]:
        """Give the place of which this one is a copy, empty for none, and since when it is one."""
        noted = self._read()
        return ("", 0.0) if noted is None else (noted.original, noted.since)

    def mark(self, original: str, since: float) -> None:
        """Let it be a copy of a place since a moment; of none for the installation itself."""
        noted = self._read() or self.look(since)
        self._write(msgspec.structs.replace(noted, original=original, since=since))

    def _read(self) -> Place | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Place)
        except FileNotFoundError:
            return None  # of an installation from before, which is where it always was
        except msgspec.MsgspecError:
            raise Unavailable(
                f"`{self._file}` cannot be read, so nobody knows whether this folder is a copy",
                hint="take it from a backup; remove it only where this is the installation itself and no copy of it",
            ) from None

    def _write(self, place: Place) -> None:
        spare = self._file.with_name(f".{NAME}.{os.getpid()}")
        said: dict[str, Any] = msgspec.structs.asdict(place)
        try:
            spare.unlink(missing_ok=True)
            write_new(spare, msgspec.json.encode(said))
            spare.replace(self._file)
            sync_folder(self._file.parent)
        except OSError as bad:
            raise Unavailable(
                f"`{self._file}` cannot be written: {bad.strerror}",
                hint="start as the user that owns the data folder, where there is room",
            ) from None
