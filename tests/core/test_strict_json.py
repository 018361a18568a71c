"""Strict JSON: what no body may be."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.problems import Malformed
from superagent.core.strict_json import (
    DEEPEST,
    LONGEST_NUMBER,
    MOST_FIELDS,
    MOST_PARTS,
    _closely,  # pyright: ignore[reportPrivateUsage]
    _plain,  # pyright: ignore[reportPrivateUsage]
    parse,
    parse_object,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

# texts as they are written: few names, so that some come twice, with all that could be taken for a quote or a bracket
BLANK = st.sampled_from(["", "", "", " ", "\n", "\t "])
PIECE = st.sampled_from(
    ["a", "b", '\\"', '\\":', "\\\\", "\\/", "\\u0022", "\\ud83d\\ude00", "[", "}", ":", "\\n", "é", "😀"]
)
TEXT = st.lists(PIECE, max_size=3).map(lambda some: '"' + "".join(some) + '"')
NUMBER = st.sampled_from(
    ["0", "-0", "1.5e3", "1E400", "1e-400", "5e-324", "-0.0", "18446744073709551616", "01", "1" * 402]
)
ATOM = TEXT | NUMBER | st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["null", "true", "nul", ""])


def field(name: str, blank: str, value: str) -> str:
    return f"{name}{blank}:{value}"


def spaced(parts: list[str], begin: str, end: str, blank: str) -> str:
    return begin + blank + f"{blank},{blank}".join(parts) + blank + end


WRITTEN = st.recursive(
    ATOM,
    lambda inner: (
        st.builds(spaced, st.lists(inner, max_size=4), st.just("["), st.just("]"), BLANK)
        | st.builds(
            spaced,
            st.lists(st.builds(field, TEXT, BLANK, inner), max_size=4),
            st.just("{"),
            st.just("}"),
            BLANK,
        )
    ),
    max_leaves=30,
)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(WRITTEN, st.integers(1, 40))
def test_what_is_read_the_quick_way_is_what_reading_closely_gives(text: str, times: int) -> None:
    for body in (text.encode(), f"[{','.join([text] * times)}]".encode(), f'{{"a":{text}}}'.encode()):
        value = _plain(body)
        if value is not None:
            assert repr(value) == repr(_closely(body))


def test_what_is_plain_is_read_the_quick_way() -> None:
    call: dict[str, Any] = {"operation": "files.write", "input": {"path": "a b.txt", "content": 'he said "yes":\n'}}
    values: list[Any] = [call, {"calls": [{"operation": "access.whoami", "input": {}}] * 100}, [1.5, None, "é", []]]
    for value in values:
        assert _plain(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"a":"\\u0022:"}',
        b'{"":0,"":0}',
        b'[{"a":{"b":"x","b":"x"}}]',
        b'{"a":"\\"","a":"\\"\\""}',
        b'{"calls":[' + b'{"a":1},' * 100 + b'{"b":1,"b":1}]}',
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b'{"a":"' + b"[" * (DEEPEST + 1) + b'"}',
    ],
)
def test_what_is_not_plain_is_read_closely(body: bytes) -> None:
    assert _plain(body) is None


@pytest.mark.slow
@given(JSON)
def test_every_json_value_is_read_as_it_was_written(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\xff{}", "not UTF-8"),
        (b'{"a":1,"a":2}', "same key twice"),
        (b'{"a":{"b":1,"b":1}}', "same key twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":[1e999]}', "beyond"),
        (b'{"a":-1' + b"0" * 390 + b"e99}", "beyond"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'{"a":["\\ud800"]}', "surrogate"),
        (b"[1]", "a list"),
        (b'"x"', "a text"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"true", "true or false"),
        (b"null", "null"),
        (b'{"a":1} x', "line 1"),
        (b"{'a':1}", "line 1"),
        (b"1" * 5000, "digits"),
        (b'{"a":-0.' + b"1" * (LONGEST_NUMBER + 1) + b"}", "digits"),
        (b"{" + b",".join(b'"%d":0' % at for at in range(MOST_FIELDS + 1)) + b"}", "1000 fields"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "deeper"),
        (b'{"a":' * 100_000, "deeper"),
        (b'{"a":[' + b"[]," * MOST_PARTS + b"[]]}", "more than 50000"),
        (b'{"a":"\\ud83d\\u0041"}', "surrogate"),
        (b'{"a":"\\\\\\ud83dx"}', "surrogate"),
    ],
)
def test_what_is_refused_says_why(body: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        parse_object(body)


def test_an_empty_body_is_an_empty_object() -> None:
    assert parse_object(b"") == parse_object(b"{}") == {}


def test_pairs_of_surrogates_and_brackets_in_texts_are_fine() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00","b":[{"c":"\\u0041"}]}') == {"a": "😀", "b": [{"c": "A"}]}
    assert parse_object(b'{"a":"\\\\ud83d"}') == {"a": "\\ud83d"}  # the text of an escape is no escape
    text = "[" * 500 + '\\"{'
    assert parse_object(json.dumps({"a": text}).encode()) == {"a": text}


def test_as_deep_as_allowed_is_allowed() -> None:
    body = b'{"a":' * (DEEPEST - 1) + b"[]" + b"}" * (DEEPEST - 1)
    assert "a" in parse_object(body)
    assert parse_object(b'{"a":[' + b"[]," * 100 + b"1]}")["a"][-1] == 1


@pytest.mark.parametrize(
    "body", [b'{"a":"\\u0041","b":[' + b'[""],' * 190_000 + b"1]}", b'{"a":"' + b"\\\\" * 500_000 + b'\\u0041"}']
)
def test_no_body_takes_a_step_of_ours_per_byte(body: bytes) -> None:
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        parse_object(body)
    except Malformed:
        pass
    finally:
        sys.setprofile(None)
    assert steps < 1000
