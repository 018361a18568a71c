"""Packing: zip, tar, tar.gz and tar.zst; the same tree gives the same bytes, and no link is followed."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Literal, cast

import zstandard

from .listing import kind
from .places import Entry, Tick, Unfit, never

Format = Literal["zip", "tar", "tar.gz", "tar.zst"]
_CHUNK = 1024 * 1024
_ZIP_FIRST, _ZIP_LAST = 315_532_800, 4_354_819_198  # what zip's dates can say: 1980 to 2107


@dataclass(slots=True)
class Packed:
    """What went in."""

    files: int = 0
    bytes: int = 0


def pack(parts: Iterable[tuple[str, Iterable[Entry]]], fd: int, format_: Format, tick: Tick = never) -> Packed:
    """Write an archive into an open file.

    Each part is a name in the archive and a walk that begins with its start. Times are kept to the second, owners are
    not. Raises `Unfit` for a name that occurs twice, and for a FIFO, socket or device.
    """
    done = Packed()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(fd, "wb", closefd=False))
        entries = _named(parts)
        if format_ == "zip":
            archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6))
            for name, entry in entries:
                _into_zip(archive, name, entry, done, tick)
        else:
            stream = _compressed(file, format_, stack)
            tar = stack.enter_context(
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8")
            )
            for name, entry in entries:
                _into_tar(tar, name, entry, done, tick)
    os.fsync(fd)
    return done


def _compressed(file: IO[bytes], format_: Format, stack: contextlib.ExitStack) -> IO[bytes]:
    if format_ == "tar.gz":  # neither a name nor the present time in its head
        return cast(IO[bytes], stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0)))
    if format_ == "tar.zst":
        return cast(
            IO[bytes], stack.enter_context(zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False))
        )
    return file


def _named(parts: Iterable[tuple[str, Iterable[Entry]]]) -> Iterator[tuple[str, Entry]]:
    taken: set[str] = set()
    for base, entries in parts:
        if base in taken:
            raise Unfit(f"two of the paths are called `{base}`", "pack the folder that holds both")
        taken.add(base)
        start = None
        for entry in entries:
            start = len(entry.path) if start is None else start
            yield base + entry.path[start:], entry


def _into_zip(archive: zipfile.ZipFile, name: str, entry: Entry, done: Packed, tick: Tick) -> None:
    what = kind(entry.stat)
    seconds = min(max(int(entry.stat.st_mtime), _ZIP_FIRST), _ZIP_LAST)
    info = zipfile.ZipInfo(_text(name) + ("/" if what == "directory" else ""), time.gmtime(seconds)[:6])
    info.create_system = 3  # Unix: the upper half of the attributes is the mode
    info.external_attr = (entry.stat.st_mode & 0xFFFF) << 16
    if what == "directory":
        info.external_attr |= 0x10
        archive.writestr(info, b"")
    elif what == "link":
        archive.writestr(info, os.fsencode(os.readlink(entry.name, dir_fd=entry.dir_fd)))
    elif what == "file":
        info.compress_type = zipfile.ZIP_DEFLATED
        with _content(entry, tick) as source, archive.open(info, "w", force_zip64=entry.stat.st_size > 2**30) as sink:
            done.bytes += _pour(source, sink)
        done.files += 1
    else:
        raise _cannot(entry, what)


def _into_tar(tar: tarfile.TarFile, name: str, entry: Entry, done: Packed, tick: Tick) -> None:
    what = kind(entry.stat)
    info = tarfile.TarInfo(_text(name))
    info.mode = stat.S_IMODE(entry.stat.st_mode)
    info.mtime = int(entry.stat.st_mtime)
    if what == "directory":
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif what == "link":
        info.type = tarfile.SYMTYPE
        info.linkname = _text(os.readlink(entry.name, dir_fd=entry.dir_fd))
        tar.addfile(info)
    elif what == "file":
        with _content(entry, tick) as source:
            info.size = os.fstat(source.fileno()).st_size
            try:
                tar.addfile(info, cast(IO[bytes], source))
            except OSError as error:
                if error.errno is None:  # tarfile's own: the file became shorter while it was read
                    raise Unfit(f"`{_text(entry.path)}` became shorter while it was packed", "try again") from error
                raise
        done.files += 1
        done.bytes += info.size
    else:
        raise _cannot(entry, what)


@contextlib.contextmanager
def _content(entry: Entry, tick: Tick) -> Generator[_Ticking]:
    with open(entry.open(), "rb", buffering=0) as raw:
        yield _Ticking(raw, tick)


class _Ticking:
    """An open file that looks at the clock each time it is read."""

    def __init__(self, raw: io.FileIO, tick: Tick) -> None:
        self._raw = raw
        self._tick = tick

    def fileno(self) -> int:
        return self._raw.fileno()

    def read(self, size: int) -> bytes:
        self._tick()
        return self._raw.read(size)


def _pour(source: _Ticking, sink: IO[bytes]) -> int:
    count = 0
    while chunk := source.read(_CHUNK):
        sink.write(chunk)
        count += len(chunk)
    return count


def _text(name: str) -> str:
    """Refuse names that no archive could carry everywhere."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Unfit("a name to be packed is not UTF-8", "rename it first") from error
    return name


def _cannot(entry: Entry, what: str) -> Unfit:
    return Unfit(f"`{_text(entry.path)}` is a {what}, which cannot be packed", "pack what lies beside it")
