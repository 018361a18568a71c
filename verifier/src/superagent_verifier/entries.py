"""The files of a log, one after the other in the order in which they are to be read: from a folder or from an export.

Nothing is unpacked: an export is read through once, so that one from strangers can fill no disk.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_NOTES = re.compile(r"[0-9]{12}\.notes")
_SEGMENT = re.compile(r"[0-9]{20}\.seg")
_CHAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
NOTES = "checkpoints"


class Unreadable(ValueError):
    """What was given is neither the folder of a log nor an export of one."""


@dataclass(frozen=True)
class Entry:
    """A file: `folder` is its chain or `checkpoints`; `goes_on` says that its chain may have lines nobody signed yet.

    `bytes` is None for a chain of which there is no file at all, and for what does not belong into a log.
    """

    folder: str
    name: str
    bytes: IO[bytes] | None
    goes_on: bool = False


def entries(place: Path) -> Iterator[Entry]:
    """Give the files: all notes, then the segments of one chain after the other. Raises `Unreadable`, `OSError`."""
    return _of_folder(place) if place.is_dir() else _of_export(place)


def _of_folder(place: Path) -> Iterator[Entry]:
    if not (place / NOTES).is_dir():
        raise Unreadable(f"{place} holds no folder `{NOTES}`: it is not an audit log")
    # who has a lock before the notes are read may get on while we read
    going_on = {one.parent.name for one in place.glob("*/lock")}
    chains = sorted(one.name for one in place.iterdir() if one.is_dir() and one.name != NOTES)
    for folder in (NOTES, *chains):
        pattern = _NOTES if folder == NOTES else _SEGMENT
        names = sorted(one.name for one in (place / folder).iterdir() if pattern.fullmatch(one.name))
        for name in names:
            with (place / folder / name).open("rb") as file:
                yield Entry(folder, name, file, goes_on=folder in going_on)
        if not names:
            yield Entry(folder, "", None, goes_on=folder in going_on)


def _of_export(place: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(place, "r|*") as tar:
            before, seen = ("", ""), False
            for member in tar:
                top, _, rest = member.name.partition("/")
                folder, _, name = rest.partition("/")
                here = ("" if folder == NOTES else folder, name)  # notes come first
                fits = _NOTES.fullmatch(name) if folder == NOTES else _SEGMENT.fullmatch(name)
                file = tar.extractfile(member) if member.isreg() else None
                if top != "audit" or not _CHAIN.fullmatch(folder) or not fits or file is None or here <= before:
                    yield Entry("", member.name, None)
                    continue
                before, seen = here, True
                yield Entry(folder, name, file)
            if not seen:
                raise Unreadable(f"{place} holds no audit log")
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise Unreadable(f"{place} is not a whole export: {error}") from None
