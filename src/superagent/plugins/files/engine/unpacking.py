"""Reading archives that may mean harm: every member is judged before a byte of it is written."""

from __future__ import annotations

import calendar
import contextlib
import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, cast

import zstandard

from .places import Tick, TooMuch, Unfit, never

_MOST_AT_ONCE = 1024 * 1024  # headers that want more than this to be read for one member are an attack on memory
_MOST_COMMON = 100  # fields that are said once for all members: real archives have one or two
_LARGEST_TABLE = 32 * 1024 * 1024
_MOST_IN_TABLE = 200_000  # of a zip, all are in memory at once
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # the others can ask for gigabytes
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800, 253_402_300_799  # the years 1 to 9999: what a listing can write
_FAIR_BYTES = 1024 * 1024  # below this, no ratio is suspicious


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold: bytes in all, members, and how many times larger than packed."""

    max_bytes: int = 1 << 30
    max_entries: int = 10_000
    max_ratio: int = 200


@dataclass(frozen=True, slots=True)
class Member:
    """One thing to make; `content` is open only until the next; `target` is where a link leads, or the earlier name."""

    path: tuple[str, ...]
    kind: str
    mode: int
    mtime: float
    content: IO[bytes] | None = None
    target: str = ""


def members(fd: int, limits: Limits, tick: Tick = never) -> Iterator[Member]:
    """Give the members of a zip, tar, tar.gz or tar.zst, told apart by their content; `tick` may end it.

    Raises `TooMuch` for bombs and `Unfit` for absolute names, `..`, links that lead out, devices, names that occur
    twice, rights to run as the owner, encryption, and what is broken.
    """
    meter = Meter(limits, max(os.fstat(fd).st_size, 1), tick)
    with open(fd, "rb", closefd=False) as file, broken_archives_are_unfit():
        head = file.read(512)
        file.seek(0)
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            yield from _of_zip(file, meter)
        elif head.startswith(b"\x1f\x8b"):
            yield from _of_tar(gzip.GzipFile(fileobj=file, mode="rb"), meter)
        elif head.startswith(b"\x28\xb5\x2f\xfd"):
            # the window bounds the memory that a hostile frame can ask for
            unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            yield from _of_tar(unpacker.stream_reader(file, read_across_frames=True, closefd=False), meter)
        elif head[257:262] == b"ustar":
            yield from _of_tar(file, meter)
        else:
            raise Unfit("this is no zip, tar, tar.gz or tar.zst archive")


@contextlib.contextmanager
def broken_archives_are_unfit() -> Generator[None]:
    """Say of every complaint of a reader of archives that the archive is broken; also round reading a member."""
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        zstandard.ZstdError,
        EOFError,
        gzip.BadGzipFile,
        NotImplementedError,
        RecursionError,  # a long chain of headers of headers
        ValueError,
    ) as error:
        raise Unfit(f"the archive is broken: {str(error)[:200]}", "fetch it anew") from error


@dataclass(slots=True)
class Meter:
    """Counts what comes out and which names were taken."""

    limits: Limits
    packed: int
    tick: Tick = never
    bytes: int = 0
    entries: int = 0
    taken: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])

    def count(self, size: int) -> None:
        """Count unpacked bytes."""
        self.tick()
        self.bytes += size
        if self.bytes > self.limits.max_bytes:
            raise TooMuch(f"the archive holds more than {self.limits.max_bytes} bytes", "raise `limits.max_bytes`")
        if self.bytes > _FAIR_BYTES and self.bytes > self.packed * self.limits.max_ratio:
            raise TooMuch(
                f"the archive is more than {self.limits.max_ratio} times larger than packed: it looks like a bomb",
                "raise `limits.max_ratio` if you trust it",
            )

    def judge(self, name: str, kind: str, mode: int, target: str) -> tuple[str, ...]:
        """Give the parts of a member's name, or refuse the member."""
        self.tick()
        self.entries += 1
        if self.entries > self.limits.max_entries:
            raise TooMuch(f"the archive has more than {self.limits.max_entries} members", "raise `limits.max_entries`")
        said = name[:100].encode("utf-8", "backslashreplace").decode()
        path = parts_of(name)
        if name.startswith("/") or "\0" in name or "\\" in name or ".." in path or not path:
            if not path and kind == "directory" and not name.startswith("/"):
                return ()  # `./` stands for the archive itself
            raise Unfit(f"the archive holds `{said}`, which would lie outside of its folder")
        if any(len(os.fsencode(part)) > 255 for part in path):
            raise Unfit(f"the archive holds `{said}`: a name longer than 255 bytes")
        if mode & (stat.S_ISUID | stat.S_ISGID) and kind == "file":
            raise Unfit(f"the archive holds `{said}` with the right to run as its owner")
        if kind == "link" and not _stays_inside(path, target):
            raise Unfit(f"the archive holds the link `{said}`, which leads out of its folder")
        if kind == "hard link" and self.taken.get(parts_of(target)) != "file":
            raise Unfit(f"the archive holds `{said}`, a second name of something that is no file in it")
        self._take(path, kind, said)
        return path

    def _take(self, path: tuple[str, ...], kind: str, said: str) -> None:
        for end in range(1, len(path)):
            if self.taken.setdefault(path[:end], "directory") != "directory":
                raise Unfit(f"the archive holds `{said}` in something that is no folder")
        before = self.taken.get(path)
        if before is not None and not (before == kind == "directory"):
            raise Unfit(f"the archive holds `{said}` twice")
        self.taken[path] = "file" if kind == "hard link" else kind


class Guarded:
    """A stream that counts what is read and refuses to be read at a gulp; it moves forward only.

    `headers` are the bytes that may still be read as headers of one member, which are all in memory at once; None while
    something else is read.
    """

    def __init__(self, inner: IO[bytes], meter: Meter) -> None:
        self.headers: int | None = None
        self.last = b""  # what was read last
        self._inner = inner
        self._meter = meter
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read that many bytes, fewer only at the end."""
        left = _MOST_AT_ONCE if self.headers is None else self.headers
        if not 0 <= size <= left:
            raise TooMuch("a header of the archive is larger than 1 MiB")
        if self.headers is not None:
            self.headers = left - size
        self.last = self._read(size)
        return self.last

    def tell(self) -> int:
        """Give how many bytes were read."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Read on to an offset."""
        if whence or offset < self._at:
            raise tarfile.ReadError("the archive is not in order")
        while self._at < offset:
            if not self._read(min(offset - self._at, _MOST_AT_ONCE)):
                raise tarfile.ReadError("the archive ends too early")
        return self._at

    def _read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size and (piece := self._inner.read(size)):
            self._meter.count(len(piece))
            pieces.append(piece)
            size -= len(piece)
        data = b"".join(pieces)
        self._at += len(data)
        return data


def _of_tar(stream: object, meter: Meter) -> Iterator[Member]:
    guarded = Guarded(cast(IO[bytes], stream), meter)
    guarded.headers = _MOST_AT_ONCE
    with tarfile.open(fileobj=cast(IO[bytes], guarded), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        while (info := tar.next()) is not None:
            guarded.headers = None
            _check_common(tar)
            kind = _tar_kind(info)
            if info.size < 0:
                raise Unfit(f"the archive holds `{_said(info.name)}` of less than no bytes")
            if not _FIRST_MOMENT <= info.mtime <= _LAST_MOMENT:
                raise Unfit(f"the archive holds `{_said(info.name)}` of a time that no calendar has")
            path = meter.judge(info.name, kind, info.mode, info.linkname)
            if path:
                content = tar.extractfile(info) if kind == "file" else None
                yield Member(path, kind, info.mode & 0o777, float(info.mtime), content, info.linkname)
            cast(Any, tar).members.clear()  # a long archive must not fill the memory
            guarded.headers = _MOST_AT_ONCE
        if guarded.last.strip(b"\0"):  # the reader takes a header that it cannot read for the end
            raise tarfile.ReadError("what follows is no header")


def _check_common(tar: tarfile.TarFile) -> None:
    """Refuse fields for all members that grow from one to the next: they stay in memory to the end."""
    common = tar.pax_headers
    if len(common) > _MOST_COMMON or sum(map(len, common.values())) > _MOST_AT_ONCE:
        raise TooMuch("a header of the archive that holds for all its members is larger than 1 MiB")


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isreg() and not info.issparse():  # a hole costs nothing to pack and can be as large as it likes
        return "file"
    kind = "directory" if info.isdir() else "link" if info.issym() else "hard link" if info.islnk() else ""
    return kind or _refuse(info.name)


def _refuse(name: str) -> str:
    raise Unfit(f"the archive holds a device, FIFO, sparse file or unknown thing: `{_said(name)}`")


def _of_zip(file: IO[bytes], meter: Meter) -> Iterator[Member]:
    table = _Table(file, min(meter.limits.max_entries, _MOST_IN_TABLE))
    with zipfile.ZipFile(cast(IO[bytes], table)) as archive:
        table.is_read = True
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise Unfit("the archive is encrypted", "unpack it elsewhere")
            if info.compress_type not in _ZIP_METHODS:
                raise Unfit(
                    f"`{_said(info.filename)}` is packed by a method that is not read here", "pack it as deflate"
                )
            mode = info.external_attr >> 16 if info.create_system == 3 else 0
            kind = _zip_kind(info, mode)
            target = ""
            if kind == "link":
                if info.file_size > 4096:
                    raise Unfit(f"the archive holds the link `{_said(info.filename)}`, whose target is too long")
                target = os.fsdecode(archive.read(info))
            path = meter.judge(info.filename, kind, mode, target)
            if not path:
                continue
            mtime = _zip_time(info)
            if kind != "file":
                yield Member(path, kind, mode & 0o777, mtime, None, target)
                continue
            with archive.open(info) as content:
                guarded = cast(IO[bytes], Guarded(content, meter))
                yield Member(path, kind, mode & 0o777, mtime, guarded)


class _Table:
    """A zip's file as its reader sees it: until it has read the table of contents, no read may fill the memory.

    The reader itself finds the table (APPNOTE.TXT 4.3.14 to 4.3.16) and reads it whole: whoever looked for it
    beforehand could be shown another one.
    """

    def __init__(self, file: IO[bytes], max_entries: int) -> None:
        self.is_read = False
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file = file
        self._max_entries = max_entries
        self._size = file.seek(0, os.SEEK_END)

    def read(self, size: int = -1, /) -> bytes:
        """Read that many bytes, or up to the end."""
        if self.is_read:
            return self._file.read(size)
        if (self._size - self._file.tell() if size < 0 else size) > _LARGEST_TABLE:
            raise TooMuch("the archive's table of contents is larger than 32 MiB")
        data = self._file.read(size)
        if data.startswith(b"PK\1\2") and data.count(b"PK\1\2") > self._max_entries:
            raise TooMuch(f"the archive has more than {self._max_entries} members", "raise `limits.max_entries`")
        return data


def _zip_kind(info: zipfile.ZipInfo, mode: int) -> str:
    if stat.S_IFMT(mode) == 0:
        return "directory" if info.filename.endswith("/") else "file"
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode)) or _refuse(info.filename)


def _zip_time(info: zipfile.ZipInfo) -> float:
    return float(calendar.timegm((*info.date_time, 0, 0, 0)))


def _stays_inside(path: tuple[str, ...], target: str) -> bool:
    """Say whether a link's target lies in the archive's folder, going by names alone.

    `..` may only stand at the beginning: after a name, which may be a link itself, it could lead anywhere.
    """
    if not target or target.startswith("/") or "\0" in target or "\\" in target:
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    return ups <= len(path) - 1 and ".." not in parts[ups:]


def parts_of(name: str) -> tuple[str, ...]:
    """Split a member's name, without empty parts and `.`."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _said(name: str) -> str:
    return name[:100].encode("utf-8", "backslashreplace").decode()
