"""Tars made by hand, byte by byte, that no honest program writes: each is refused, on record, and leaves nothing."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from superagent.core.problems import Deadline, Problem
from superagent.plugins.files import packing
from tests.plugins.files.ground import Ground

FILE, HARD, SOFT, CHAR, BLOCK, FOLDER, FIFO, EVEN = (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7")
SPARSE, LONG_NAME, LONG_LINK, EXTENDED, COMMON = b"S", b"L", b"K", b"x", b"g"
END = bytes(1024)


def member(name: str | bytes, content: bytes = b"", kind: bytes = FILE, *, size: bytes = b"", link: str = "") -> bytes:
    """Give one member; `size` is written as it is, whatever the content, and the checksum fits always."""
    named = name.encode() if isinstance(name, str) else name
    header = bytearray(512)
    for at, value in (
        (0, named), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
        (124, size or b"%011o\0" % len(content)), (136, b"%011o\0" % 0), (156, kind), (157, link.encode()),
        (257, b"ustar\x0000"),
    ):  # fmt: skip
        header[at : at + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def record(name: str, value: str) -> bytes:
    """Give one record of an extended header: its own length, a space, `name=value` and a line feed."""
    rest = f" {name}={value}\n".encode()
    length = len(rest)
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def extended(kind: bytes = EXTENDED, **fields: str) -> bytes:
    records = b"".join(record(name.replace("__", "."), value) for name, value in fields.items())
    return member("././@PaxHeader", records, kind)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


DENSE = random.Random(1).randbytes(450_000).hex()  # packed, it is not small enough to be taken for a bomb
HONEST = member("honest", b"content")
NEGATIVE = b"\xff" * 12  # minus one, as GNU writes numbers that do not fit into octal
BACK = (-5000).to_bytes(12, "big", signed=True)
HUGE = b"\x80" + (1 << 62).to_bytes(11, "big")

HOSTILE: dict[str, tuple[bytes, str]] = {
    # sizes
    "a negative size": (tar(member("a", size=NEGATIVE), HONEST), "less than no bytes"),
    "a size that leads back": (tar(member("a", size=BACK), HONEST), "less than no bytes"),
    "a negative extended header": (tar(member("x", kind=EXTENDED, size=BACK), HONEST), "header of the archive"),
    "a size beyond the end": (tar(member("a", b"x", size=b"%011o\0" % 5_000_000)), "broken"),
    "a size beyond every disk": (tar(member("a", b"x", size=HUGE)), "broken"),
    "a size that is no number": (tar(member("a", b"x", size=b"12junk34567\0")), "broken"),
    "an extended size that is negative": (tar(extended(size="-1"), HONEST), "less than no bytes"),
    "an extended size beyond every disk": (tar(extended(size=str(1 << 80)), HONEST), "broken"),
    "a header cut in the middle": (tar(HONEST)[:700], "broken"),
    "a second header cut in the middle": ((HONEST * 2)[:1300], "broken"),
    "a second header whose sum is wrong": (HONEST + HONEST[:100] + b"9" + HONEST[101:] + END, "broken"),
    "no header after a member": (HONEST + b"junk" * 128 + END, "broken"),
    "a header whose sum is wrong": (HONEST[:100] + b"9" + HONEST[101:] + END, "broken"),
    # holes
    "a sparse file": (tar(member("a", kind=SPARSE)), "sparse"),
    "a sparse file in extended headers 0.0": (
        tar(extended(GNU__sparse__size=str(1 << 50), GNU__sparse__numblocks="0"), member("a")),
        "sparse",
    ),
    "a sparse file in extended headers 0.1": (
        tar(extended(GNU__sparse__map="0,0", GNU__sparse__size=str(1 << 50)), member("a")),
        "sparse",
    ),
    "a sparse file in extended headers 1.0": (
        tar(
            extended(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize=str(1 << 50)),
            member("a", b"1\n0\n0\n".ljust(512, b"\0")),
        ),
        "sparse",
    ),
    # names
    "an absolute name": (tar(member("/etc/passwd", b"x")), "outside of its folder"),
    "an absolute folder": (tar(member("/etc/", kind=FOLDER)), "outside of its folder"),
    "a name upwards": (tar(member("a/../../b", b"x")), "outside of its folder"),
    "a long absolute name": (tar(member("l", b"/etc/" + b"d/" * 60 + b"x\0", LONG_NAME), HONEST), "outside"),
    "an extended absolute name": (tar(extended(path="/etc/passwd"), HONEST), "outside of its folder"),
    "an extended name upwards": (tar(extended(path="../x"), HONEST), "outside of its folder"),
    "a common absolute name": (tar(extended(COMMON, path="/etc/passwd"), HONEST), "outside of its folder"),
    "an extended sparse name upwards": (tar(extended(GNU__sparse__name="../x"), HONEST), "outside of its folder"),
    "no name": (tar(member("", b"x")), "outside of its folder"),
    "a name that is only dots": (tar(member("./.", b"x")), "outside of its folder"),
    # links
    "a link out": (tar(member("a", kind=SOFT, link="../x")), "leads out"),
    "an absolute link": (tar(member("a", kind=SOFT, link="/etc/passwd")), "leads out"),
    "a long link out": (
        tar(member("l", b"d/" * 60 + b"../" * 99 + b"x\0", LONG_LINK), member("a", kind=SOFT)), "leads out",
    ),
    "an extended link out": (tar(extended(linkpath="/etc"), member("a", kind=SOFT, link="b")), "leads out"),
    "a file through a link": (tar(member("a", kind=SOFT, link="b"), member("a/x", b"x")), "no folder"),
    "a folder over a link": (tar(member("a", kind=SOFT, link="b"), member("a/", kind=FOLDER)), "twice"),
    "a hard link out": (tar(member("a", kind=HARD, link="../x")), "no file in it"),
    "an absolute hard link": (tar(member("a", kind=HARD, link="/etc/passwd")), "no file in it"),
    "an extended hard link out": (
        tar(HONEST, extended(linkpath="/etc/passwd"), member("a", kind=HARD, link="honest")), "no file in it",
    ),
    "a hard link to a link": (tar(member("a", kind=SOFT, link="b"), member("c", kind=HARD, link="a")), "no file in it"),
    "a hard link to what comes later": (tar(member("c", kind=HARD, link="honest"), HONEST), "no file in it"),
    # what is no file
    "a character device": (tar(member("a", kind=CHAR)), "a device"),
    "a block device": (tar(member("a", kind=BLOCK)), "a device"),
    "a fifo": (tar(member("a", kind=FIFO)), "FIFO"),
    "an unknown thing": (tar(member("a", kind=b"Z")), "unknown"),
    # twice
    "a file twice": (tar(HONEST, HONEST), "twice"),
    "a file twice by other spellings": (tar(member("d/a", b"x"), member("d//./a", b"y")), "twice"),
    "a file as a folder": (tar(HONEST, member("honest/", kind=FOLDER)), "twice"),
    "a file by an extended name twice": (tar(HONEST, extended(path="honest"), member("b", b"x")), "twice"),
    "a hard link to itself": (tar(HONEST, member("honest", kind=HARD, link="honest")), "twice"),
    # times
    "a time that is no number": (tar(extended(mtime="nan"), HONEST), "of a time"),
    "a time without end": (tar(extended(mtime="inf"), HONEST), "of a time"),
    # extended headers
    "an extended header that says it is shorter": (tar(member("x", b"0 path=/etc\n", EXTENDED), HONEST), "broken"),
    "an extended header that says it is longer": (tar(member("x", b"99 path=a\n", EXTENDED), HONEST), "outside"),
    "an extended header at the end": (tar(extended(path="a")), "broken"),
    "a long chain of headers": (tar(extended(path="a") * 2000, HONEST), "recursion"),
    "common fields that grow": (
        tar(*(extended(COMMON, **{f"k{n}": DENSE}) + member(f"f{n}") for n in range(3))),
        "header of the archive",
    ),
    "very many common fields": (
        tar(extended(COMMON, **{f"k{n}": "v" for n in range(101)}), HONEST), "header of the archive",
    ),
    "a long name that is a bomb": (tar(member("l", bytes(2_000_000), LONG_NAME), HONEST), "header of the archive"),
}  # fmt: skip

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstandard": lambda data: zstandard.ZstdCompressor().compress(data),
}


async def refused(ground: Ground, data: bytes) -> Problem:
    ground.write("evil", data)
    problem = await ground.refused("extract", archive="evil", target="out")
    assert sorted(os.listdir(ground.top)) == ["evil"]
    last = ground.world.audit.records[-1]
    assert (last.kind, last.operation, last.status) == ("outcome", "files.extract", "failed")
    assert (last.problem, last.changed) == (problem.slug, "nothing")
    return problem


PACKED = {"a size beyond the end", "a second header cut in the middle", "an absolute name", "common fields that grow"}


@pytest.mark.parametrize(
    ("name", "packing"),
    [(name, packing) for name in HOSTILE for packing in PACKINGS if name in PACKED or packing == "plain"],
)
async def test_a_hostile_tar_is_refused_recorded_and_leaves_nothing(ground: Ground, name: str, packing: str) -> None:
    data, says = HOSTILE[name]
    problem = await refused(ground, PACKINGS[packing](data))
    assert problem.slug in ("invalid-input", "too-large"), problem.detail
    assert says in problem.detail


@pytest.mark.parametrize("name", HOSTILE)
async def test_the_preview_refuses_the_same(ground: Ground, name: str) -> None:
    ground.write("evil", HOSTILE[name][0])
    outcome = await ground.call("extract", archive="evil", target="out", dry_run=True)
    assert outcome.problem is not None or name in DEEPER


DEEPER = {"a size beyond the end", "a size beyond every disk"}  # found only when the content itself is read


def test_members_made_by_hand_are_what_other_programs_read(ground: Ground) -> None:
    ground.write("a", tar(member("d/", kind=FOLDER), member("d/even", b"x", EVEN), extended(path="long"), HONEST))
    with tarfile.open(ground.top / "a") as found:
        assert [(one.name, one.size, one.type) for one in found] == [
            ("d", 0, FOLDER),
            ("d/even", 1, EVEN),
            ("long", 7, FILE),
        ]


async def test_members_made_by_hand_come_out_where_they_are_honest(ground: Ground) -> None:
    ground.write("a", tar(extended(COMMON, comment="c"), member("d/even", b"x", EVEN), extended(path="long"), HONEST))
    await ground.undone("extract", archive="a", target="out")
    assert (ground.top / "out" / "d" / "even").read_text() == "x"
    assert (ground.top / "out" / "long").read_text() == "content"


@pytest.mark.parametrize("kind", [EXTENDED, COMMON, LONG_NAME])
async def test_headers_that_unpack_to_very_much_take_little_memory(ground: Ground, kind: bytes) -> None:
    one = gzip.compress(member("h", record("k", "v" * 1_000_000), kind), 9)
    ground.write("evil", one * 300 + gzip.compress(os.urandom(2_000_000), 1))  # not packed well enough to be a bomb
    tracemalloc.start()
    try:
        problem = await ground.refused("extract", archive="evil", target="out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem.slug in ("too-large", "invalid-input")
    assert peak < 32 * 1024 * 1024


async def test_unpacking_ends_with_the_calls_time(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def over() -> None:
        asked.append(1)
        if len(asked) > 100:
            raise Deadline("its time is up")

    def ticker(ctx: object) -> Callable[[], None]:
        return over

    monkeypatch.setattr(packing, "ticker", ticker)
    ground.write("many", tar(*(member(f"f{n}", b"x") for n in range(5000))))
    assert (await ground.refused("extract", archive="many", target="out")).slug == "deadline"
    assert len(asked) == 101
