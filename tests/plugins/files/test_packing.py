"""Packing and unpacking through the line: what goes in comes out, and what means harm stays out."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from superagent.plugins.files.engine import archives, unpacking
from tests.plugins.files.ground import Ground, look_at

FORMATS = ("zip", "tar", "tar.gz", "tar.zst")


@pytest.fixture
def tree(ground: Ground) -> Ground:
    ground.write("one/deep/\u00e9", "content " * 1000)
    ground.write("one/b", b"\0\xff").chmod(0o755)
    (ground.top / "one" / "link").symlink_to("deep/\u00e9")
    (ground.top / "one" / "empty").mkdir()
    for path in sorted(ground.top.rglob("*"), reverse=True):
        os.utime(path, (2_000_000_000, 2_000_000_000), follow_symlinks=False)
    return ground


@pytest.mark.parametrize("format", FORMATS)
async def test_what_is_packed_comes_out_the_same(tree: Ground, format: str) -> None:
    packed = await tree.undone("archive", paths=["one", "one/b"], target="a", format=format)
    assert (packed["files"], packed["bytes"]) == (3, 8004)
    assert packed["size"] == (tree.top / "a").stat().st_size
    done = await tree.undone("extract", archive="a", target="out")
    assert (done["files"], done["bytes"], done["entries"]) == (3, 8004, 7)
    out, one = (look_at(tree.top / name, times=True) for name in ("out/one", "one"))
    assert out.pop("link")[:2] == one.pop("link")[:2]  # only the time of a link itself is not kept
    assert out == one
    assert (tree.top / "out" / "one" / "link").readlink() == (tree.top / "one" / "link").readlink()


@pytest.mark.parametrize("format", FORMATS)
async def test_the_same_tree_gives_the_same_bytes(tree: Ground, format: str) -> None:
    first = await tree.do("archive", paths=["one"], target="a", format=format)
    tree.world.clock.advance(100_000)
    await tree.do("move", source="one", target="saved")
    await tree.do("copy", source="saved", target="one")
    second = await tree.do("archive", paths=["one"], target="b", format=format)
    assert first["sha256"] == second["sha256"]


@pytest.mark.parametrize("format", FORMATS)
async def test_other_programs_understand_what_is_packed(tree: Ground, format: str) -> None:
    await tree.do("archive", paths=["one/b"], target="a", format=format)
    data = (tree.top / "a").read_bytes()
    if format == "zip":
        assert zipfile.ZipFile(io.BytesIO(data)).read("b") == b"\0\xff"
        return
    raw = gzip.decompress(data) if format == "tar.gz" else unzstd(data) if format == "tar.zst" else data
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        file = tar.extractfile("b")
        assert file is not None
        assert file.read() == b"\0\xff"


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()


@pytest.mark.parametrize("format", ["zip", "tar"])
async def test_what_cannot_be_packed_is_refused_and_nothing_is_left(tree: Ground, format: str) -> None:
    os.mkfifo(tree.top / "pipe")
    tree.write(os.fsdecode(b"odd/\xff"), "x")
    for paths, says in ((["pipe"], "is a fifo"), (["odd"], "not UTF-8"), (["one/b", "one/deep/../b"], "are called")):
        problem = await tree.refused("archive", paths=paths, target="a", format=format)
        assert says in problem.detail
    assert (await tree.refused("archive", paths=["none"], target="a", format=format)).slug == "not-found"
    assert (await tree.refused("archive", paths=["one"], target="one/b", format=format)).slug == "conflict"


async def test_a_file_that_shrinks_while_it_is_packed_is_said_to(tree: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat

    def larger(fd: int) -> Any:
        seen = real(fd)
        return os.stat_result([*seen[:6], seen.st_size + 1, *seen[7:]]) if stat.S_ISREG(seen.st_mode) else seen

    monkeypatch.setattr(archives.os, "fstat", larger)
    assert "became shorter" in (await tree.refused("archive", paths=["one/b"], target="a", format="tar")).detail


async def test_packing_and_unpacking_can_be_looked_at_first(tree: Ground) -> None:
    shown = await tree.preview("archive", paths=["one"], target="a", format="zip")
    assert "would pack 6 entries" in shown["summary"]
    await tree.do("archive", paths=["one"], target="a", format="zip")
    assert (await tree.preview("archive", paths=["one"], target="a", format="zip"))["conflicts"]
    shown = await tree.preview("extract", archive="a", target="out")
    assert "would unpack 6 entries" in shown["summary"]
    assert "+ one/deep/\u00e9\n" in shown["diff"]
    assert (await tree.preview("extract", archive="a", target="one"))["conflicts"]


# ---- archives that mean harm


def a_tar(*members: tuple[str, dict[str, Any], bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, fields, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def a_zip(*members: tuple[str, int, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def plain(name: str, content: bytes = b"x", **fields: Any) -> tuple[str, dict[str, Any], bytes]:
    return name, fields, content


def link(name: str, target: str, type_: bytes = tarfile.SYMTYPE) -> tuple[str, dict[str, Any], bytes]:
    return name, {"type": type_, "linkname": target}, b""


S = stat.S_IFREG | 0o644
HARMFUL: dict[str, tuple[bytes, str]] = {
    "tar, absolute": (a_tar(plain("/etc/passwd")), "outside of its folder"),
    "tar, upwards": (a_tar(plain("a/../../x")), "outside of its folder"),
    "tar, backslash": (a_tar(plain("..\\x")), "outside of its folder"),
    "tar, link out": (a_tar(link("a", "../x")), "leads out"),
    "tar, absolute link": (a_tar(link("a", "/etc")), "leads out"),
    "tar, link back over a link": (a_tar(link("d/l", "../r"), link("m", "d/l/../../x")), "leads out"),
    "tar, empty link": (a_tar(link("a", "")), "leads out"),
    "tar, through a link": (a_tar(link("a", "b"), plain("a/x")), "no folder"),
    "tar, link over a folder": (a_tar(plain("a/x"), link("a", "b")), "twice"),
    "tar, into a file": (a_tar(plain("a"), plain("a/x")), "no folder"),
    "tar, twice": (a_tar(plain("a"), plain("./a")), "twice"),
    "tar, hard link out": (a_tar(link("a", "/etc/passwd", tarfile.LNKTYPE)), "no file in it"),
    "tar, hard link to a link": (a_tar(link("a", "b"), link("c", "a", tarfile.LNKTYPE)), "no file in it"),
    "tar, device": (a_tar(("a", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 1}, b"")), "a device"),
    "tar, fifo": (a_tar(("a", {"type": tarfile.FIFOTYPE}, b"")), "a device, FIFO"),
    "tar, setuid": (a_tar(plain("a", mode=0o4755)), "right to run"),
    "tar, long name": (a_tar(plain("n" * 256)), "longer than 255"),
    "tar, deep": (a_tar(plain("d/" * 201 + "x")), "200 folders deep"),
    "tar, cut": (a_tar(plain("a", b"x" * 5000))[:2000], "broken"),
    "tar, big header": (
        a_tar(("././@PaxHeader", {"type": tarfile.XHDTYPE}, b"x" * 2_000_000), plain("a")),
        "header of the archive",
    ),
    "zip, absolute": (a_zip(("/etc/passwd", S, b"x")), "outside of its folder"),
    "zip, upwards": (a_zip(("../x", S, b"x")), "outside of its folder"),
    "zip, link out": (a_zip(("a", stat.S_IFLNK | 0o777, b"../../x")), "leads out"),
    "zip, endless link": (a_zip(("a", stat.S_IFLNK | 0o777, b"x" * 5000)), "too long"),
    "zip, device": (a_zip(("a", stat.S_IFBLK | 0o644, b"")), "a device"),
    "zip, setuid": (a_zip(("a", stat.S_IFREG | 0o4755, b"x")), "right to run"),
    "zip, cut": (a_zip(("a", S, b"x" * 5000))[:60], "broken"),
    "gzip of nonsense": (gzip.compress(b"nonsense" * 100), "broken"),
    "cut gzip": (gzip.compress(a_tar(plain("a", os.urandom(5000))))[:2000], "broken"),
    "broken zstandard": (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "broken"),
    "no archive": (b"just text" * 100, "no zip, tar"),
    "empty": (b"", "no zip, tar"),
}


@pytest.mark.parametrize("name", HARMFUL)
async def test_an_archive_that_means_harm_is_refused_and_nothing_is_left(ground: Ground, name: str) -> None:
    data, says = HARMFUL[name]
    ground.write("evil", data)
    problem = await ground.refused("extract", archive="evil", target="out")
    assert problem.slug in ("invalid-input", "too-large")
    assert says in problem.detail


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_a_zip_that_names_something_twice_is_refused(ground: Ground) -> None:
    ground.write("evil", a_zip(("a", S, b"x"), ("a", S, b"y")))
    assert "twice" in (await ground.refused("extract", archive="evil", target="out")).detail


async def test_an_encrypted_zip_is_refused(ground: Ground) -> None:
    data = bytearray(a_zip(("a", S, b"x")))
    data[data.index(b"PK\1\2") + 8] |= 1
    ground.write("evil", bytes(data))
    assert "encrypted" in (await ground.refused("extract", archive="evil", target="out")).detail


BOMBS: dict[str, Callable[[], bytes]] = {
    "zip": lambda: a_zip(("a", S, b"\0" * 50_000_000)),
    "gzip": lambda: gzip.compress(a_tar(plain("a", b"\0" * 50_000_000)), 9),
    "zstandard": lambda: zstandard.ZstdCompressor().compress(a_tar(plain("a", b"\0" * 50_000_000))),
}


@pytest.mark.parametrize("kind", BOMBS)
async def test_a_bomb_is_refused_before_it_fills_anything(ground: Ground, kind: str) -> None:
    ground.write("bomb", BOMBS[kind]())
    problem = await ground.refused("extract", archive="bomb", target="out")
    assert problem.slug == "too-large"
    assert "looks like a bomb" in problem.detail
    problem = await ground.refused(
        "extract", archive="bomb", target="out", limits={"max_ratio": 100_000, "max_bytes": 1000}
    )
    assert "more than 1000 bytes" in problem.detail


async def test_a_hole_in_a_file_is_no_way_around_the_limits(ground: Ground) -> None:
    fields = {"pax_headers": {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info)
    ground.write("evil", out.getvalue())
    assert "sparse" in (await ground.refused("extract", archive="evil", target="out")).detail


async def test_too_many_members_are_refused(ground: Ground) -> None:
    ground.write("many", a_tar(*(plain(str(number)) for number in range(11))))
    problem = await ground.refused("extract", archive="many", target="out", limits={"max_entries": 10})
    assert "more than 10 members" in problem.detail


async def test_harmless_links_and_second_names_come_out(ground: Ground) -> None:
    made = a_tar(
        plain("./"[:1] + "/d/file", b"content", mode=0o640),
        link("d/up", "../d/file"),
        link("again", "d/file", tarfile.LNKTYPE),
        ("made", {"type": tarfile.DIRTYPE, "mode": 0o500}, b""),
        plain("made/inside"),
        ("./", {"type": tarfile.DIRTYPE}, b""),
    )
    ground.write("a", made)
    await ground.undone("extract", archive="a", target="out")
    assert (ground.top / "out" / "d" / "up").read_text() == "content"
    assert (ground.top / "out" / "again").samefile(ground.top / "out" / "d" / "file")
    assert (ground.top / "out" / "made").stat().st_mode & 0o777 == 0o700


async def test_a_zip_without_modes_gets_ordinary_ones(ground: Ground) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("./", "d/", "d/f"):
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            archive.writestr(info, b"" if name.endswith("/") else b"x")
    ground.write("a", out.getvalue())
    await ground.do("extract", archive="a", target="out")
    assert (ground.top / "out" / "d" / "f").stat().st_mode & 0o777 == 0o644


def test_a_reader_that_is_sent_back_or_beyond_the_end_is_told_so() -> None:
    guarded = unpacking.Guarded(io.BytesIO(b"0123456789"), unpacking.Meter(unpacking.Limits(), 10))
    assert (guarded.seek(4), guarded.read(2), guarded.tell()) == (4, b"45", 6)
    with pytest.raises(tarfile.ReadError, match="not in order"):
        guarded.seek(5)
    with pytest.raises(tarfile.ReadError, match="too early"):
        guarded.seek(11)


async def test_only_a_free_place_is_unpacked_to(ground: Ground) -> None:
    ground.write("a", a_tar(plain("x")))
    (ground.top / "out").mkdir()
    assert (await ground.refused("extract", archive="a", target="out")).slug == "conflict"
    assert (await ground.refused("extract", archive="none", target="new")).slug == "not-found"
