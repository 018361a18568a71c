"""Reading files through the line: encodings, lines, bytes, limits."""

from __future__ import annotations

import base64
import codecs
import hashlib
import os
import socket

import pytest

from tests.plugins.files.ground import Ground

THREE = "one\ntwo\nthree\n"


async def test_text_is_read_with_its_hash_and_newlines(ground: Ground) -> None:
    ground.write("a.txt", THREE)
    assert await ground.do("read", path="a.txt") == {
        "path": f"{ground.top}/a.txt",
        "content": THREE,
        "encoding": "utf-8",
        "newline": "lf",
        "size": 14,
        "truncated": False,
        "first_line": 1,
        "last_line": 3,
        "sha256": hashlib.sha256(THREE.encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("na\u00efve".encode(), "na\u00efve", "utf-8"),
        (codecs.BOM_UTF8 + b"marked", "marked", "utf-8"),
        (codecs.BOM_UTF16_LE + "wide \u20ac".encode("utf-16-le"), "wide \u20ac", "utf-16-le"),
        (codecs.BOM_UTF16_BE + "wide \u20ac".encode("utf-16-be"), "wide \u20ac", "utf-16-be"),
        (codecs.BOM_UTF32_LE + "wider".encode("utf-32-le"), "wider", "utf-32-le"),
        ("no mark at all\r\n".encode("utf-16-le"), "no mark at all\r\n", "utf-16-le"),
        ("no mark at all\r\n".encode("utf-16-be"), "no mark at all\r\n", "utf-16-be"),
        (b"", "", "utf-8"),
    ],
)
async def test_each_encoding_is_found(ground: Ground, data: bytes, text: str, encoding: str) -> None:
    ground.write("a", data)
    found = await ground.do("read", path="a")
    assert (found["content"], found["encoding"]) == (text, encoding)


async def test_old_code_pages_are_guessed_and_can_be_named(ground: Ground) -> None:
    text = "Fran\u00e7ois a mang\u00e9 une cr\u00eape \u00e0 la fen\u00eatre, o\u00f9 il \u00e9tait assis.\n" * 5
    ground.write("a", text.encode("cp1252"))
    assert (await ground.do("read", path="a"))["content"] == text
    assert (await ground.do("read", path="a", encoding="cp1252"))["content"] == text


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x00\x00\xff", bytes(range(256)), codecs.BOM_UTF16_LE + b"\x00\xd8\x41"])
async def test_what_is_not_text_comes_as_base64(ground: Ground, data: bytes) -> None:
    ground.write("a", data)
    found = await ground.do("read", path="a")
    assert (base64.b64decode(found["content"]), found["encoding"], found["newline"]) == (data, "base64", None)


async def test_bytes_can_be_asked_for(ground: Ground) -> None:
    ground.write("a", b"0123456789")
    found = await ground.do("read", path="a", encoding="bytes", range="2-4")
    assert base64.b64decode(found["content"]) == b"234"
    assert base64.b64decode((await ground.do("read", path="a", encoding="bytes"))["content"]) == b"0123456789"


@pytest.mark.parametrize(
    ("lines", "content", "first", "last"),
    [
        ("2", "two\n", 2, 2),
        ("2-3", "two\nthree\n", 2, 3),
        ("3-", "three\n", 3, 3),
        ("9-", "", 9, 9),
        ("1-99", THREE, 1, 3),
    ],
)
async def test_lines_are_counted_from_one(ground: Ground, lines: str, content: str, first: int, last: int) -> None:
    ground.write("a", THREE)
    found = await ground.do("read", path="a", lines=lines)
    assert (found["content"], found["first_line"], found["last_line"]) == (content, first, last)


async def test_a_range_of_text_leaves_out_half_characters(ground: Ground) -> None:
    ground.write("a", "a\u20acb\u20acc")  # the sign takes three bytes
    assert (await ground.do("read", path="a", range="2-6"))["content"] == "b"
    assert (await ground.do("read", path="a", range="4-"))["content"] == "b\u20acc"


async def test_a_range_of_wide_text_is_read_in_its_encoding(ground: Ground) -> None:
    ground.write("a", "\ufeffwide".encode("utf-16-le"))
    assert (await ground.do("read", path="a", range="2-5"))["content"] == "wi"


async def test_what_is_too_long_is_cut_and_said(ground: Ground) -> None:
    ground.write("a", THREE)
    found = await ground.do("read", path="a", max_bytes=9)
    assert (found["content"], found["truncated"], found["last_line"]) == ("one\ntwo\n", True, 2)
    ground.write("long", "x" * 100)
    assert (await ground.do("read", path="long", max_bytes=10))["content"] == "x" * 10
    assert (await ground.do("read", path="long", max_bytes=10, range="0-50"))["truncated"]


async def test_the_newline_style_is_told(ground: Ground) -> None:
    for content, style in (("a\r\nb\r\n", "crlf"), ("a\rb", "cr"), ("a\nb\r\n", "mixed"), ("a", "none")):
        ground.write("a", content)
        assert (await ground.do("read", path="a"))["newline"] == style


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({"lines": "0"}, "begin at 1"),
        ({"lines": "3-2"}, "before it begins"),
        ({"lines": "x"}, "must look like"),
        ({"lines": "1", "range": "1"}, "not both"),
        ({"encoding": "bytes", "lines": "1"}, "in text only"),
        ({"encoding": "klingon"}, "no text encoding"),
        ({"encoding": "hex"}, "no text encoding"),
        ({"encoding": "ascii"}, "not text in `ascii`"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_reason(ground: Ground, input: dict[str, str], says: str) -> None:
    ground.write("a", "na\u00efve")
    problem = await ground.refused("read", path="a", **input)
    assert problem.slug == "invalid-input"
    assert says in problem.detail


async def test_lines_of_what_is_not_text_are_refused(ground: Ground) -> None:
    ground.write("a", b"\0\1\2")
    assert "not text" in (await ground.refused("read", path="a", lines="1")).detail
    late = b"x" * 70_000 + b"\xff\xfe"  # it looks like text as far as one looks
    ground.write("late", late)
    assert base64.b64decode((await ground.do("read", path="late"))["content"]) == late
    assert "not text" in (await ground.refused("read", path="late", lines="1")).detail


async def test_what_is_no_file_is_refused(ground: Ground) -> None:
    os.mkfifo(ground.top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground.top / "s"))
        for name, slug in (("pipe", "conflict"), ("s", "conflict"), ("", "conflict"), ("none", "not-found")):
            outcome = await ground.call("read", path=name)
            assert outcome.problem is not None
            assert outcome.problem.slug == slug


async def test_a_file_is_told_by_its_real_path(ground: Ground) -> None:
    ground.write("real/a", "x")
    (ground.top / "link").symlink_to("real")
    assert (await ground.do("read", path="link/a"))["path"] == f"{ground.top}/real/a"


async def test_a_huge_file_is_read_without_its_hash(ground: Ground) -> None:
    with (ground.top / "huge").open("wb") as file:
        file.write(b"begin\n")
        file.truncate(70 * 1024 * 1024)
    assert (await ground.do("read", path="huge", range="0-4"))["sha256"] is None
