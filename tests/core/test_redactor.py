"""A value that a call knows does not get out of it, however it is written and wherever chunks end."""

from __future__ import annotations

import base64
import html
import json
import secrets
import time
import traceback
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.principal import Secret
from superagent.core.problems import Conflict, Fault, Fix, TooLarge
from superagent.core.redactor import MOST_VALUES, WITHHELD, Redactor
from superagent.core.spellings import SHORTEST
from tests.promise import promise

GONE = b"[secret s0]"
VALUES = st.text(min_size=8, max_size=40).filter(lambda value: len(set(value)) > 3)
CUTS = st.lists(st.integers(0, 400), max_size=6)
Write = Callable[[bytes], bytes]


def as_text(how: Callable[[str], str]) -> Write:
    return lambda data: how(data.decode()).encode()


ENCODINGS: dict[str, Write] = {
    "plain": lambda data: data,
    "base64": base64.b64encode,
    "base64 behind one": lambda data: base64.b64encode(b"x" + data + b"yz"),
    "base64 behind two": lambda data: base64.b64encode(b"xy" + data),
    "base64 url": base64.urlsafe_b64encode,
    "base64 url behind one": lambda data: base64.urlsafe_b64encode(b"\xff" + data),
    "base64 url behind two": lambda data: base64.urlsafe_b64encode(b"\xff\xfe" + data + b"\xff"),
    "base64 in lines": lambda data: base64.encodebytes(b"x" * 40 + data),
    "base64 in a URL": lambda data: quote(base64.b64encode(data), safe="").encode(),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "url": as_text(lambda text: quote(text, safe="")),
    "url path": as_text(quote),
    "form": as_text(quote_plus),
    "url, all of it": lambda data: b"".join(b"%%%02x" % byte for byte in data),
    "json": as_text(lambda text: json.dumps(text)[1:-1]),
    "json in utf-8": as_text(lambda text: json.dumps(text, ensure_ascii=False)[1:-1]),
    "json in json": as_text(lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1]),
    "html": as_text(html.escape),
    "html without quotes": as_text(lambda text: html.escape(text, quote=False)),
    "html by numbers": as_text(lambda text: "".join(f"&#{ord(char)};" for char in text)),
    "html by hex numbers": as_text(lambda text: "".join(f"&#x{ord(char):X};" for char in text)),
    "utf-16le": lambda data: data.decode().encode("utf-16-le"),
    "utf-16be": lambda data: data.decode().encode("utf-16-be"),
}


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for number, value in enumerate(values):
        redactor.add(f"s{number}", Secret(value))
    return redactor


def in_chunks(redactor: Redactor, data: bytes, cuts: list[int]) -> bytes:
    stream, out, at = redactor.stream(), b"", 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        out += stream.feed(data[at:cut])
        at = cut
    return out + stream.feed(data[at:]) + stream.close()


@promise("1.4b")
@pytest.mark.parametrize("encoding", ENCODINGS)
@given(value=VALUES, before=st.binary(max_size=20), after=st.binary(max_size=20), cuts=CUTS)
def test_no_value_gets_through_in_any_spelling(
    encoding: str, value: str, before: bytes, after: bytes, cuts: list[int]
) -> None:
    written = ENCODINGS[encoding](value.encode())
    # what stands around a base64 text would be part of it
    around = (before + b" ", b" " + after)

    out = in_chunks(knowing(value), around[0] + written + around[1], cuts)

    assert GONE in out
    beside = len(out) - len(GONE) - len(around[0]) - len(around[1])
    filler = 60 if encoding == "base64 in lines" else 8  # sextets of what stood beside the value, and padding
    assert beside <= filler, out


@given(text=st.binary(max_size=400), cuts=CUTS)
def test_what_holds_no_value_stays_as_it_is(text: bytes, cuts: list[int]) -> None:
    assert in_chunks(knowing("Wq7-zzKd3_pLxT9v", "päss wörd/&%\\"), text, cuts) == text


@given(st.text("abcdefgh &;%\\u0123456789+/=\n", max_size=200), CUTS)
def test_nearly_a_value_is_none(text: str, cuts: list[int]) -> None:
    value = "abcdefgh&%\\01234"
    assert in_chunks(knowing(value), text.encode(), cuts) == text.encode() or value[:SHORTEST] in text


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_of_two_values_that_begin_alike_the_longer_one_goes_whole(cuts: list[int]) -> None:
    redactor = knowing("abcdefgh", "abcdefgh-and-more")

    out = in_chunks(redactor, b"1 abcdefgh-and-more 2 abcdefgh-and 3 abcdefgh", cuts)

    assert out == b"1 [secret s1] 2 [secret s0]-and 3 [secret s0]"


def test_what_cannot_become_a_value_is_not_held_back() -> None:
    stream = knowing("hunter22-and-more").stream()

    shown = [stream.feed(chunk) for chunk in (b"$ ", b"hunt", b"ed", b"hunter22-and-mor", b"e", b" $ ")]

    assert shown == [b"$ ", b"", b"hunted", b"", GONE, b" $ "]
    assert stream.close() == b""


def test_half_of_a_value_at_the_very_end_is_taken_for_one_that_was_cut_off() -> None:
    redactor = knowing("abcdefghijklmnop")
    assert redactor.clean(b"cut: abcdefghij") == b"cut: " + GONE
    assert redactor.clean(b"cut: abcdefg") == b"cut: abcdefg"


def test_values_that_stand_side_by_side_all_go() -> None:
    redactor = knowing("first-value", "second/value")
    assert redactor.clean(b"first-valuesecond/value") == b"[secret s0][secret s1]"
    assert redactor.clean(base64.b64encode(b"first-valuesecond/value")).count(b"[secret") == 2


def test_a_value_that_is_added_later_is_looked_for_from_then_on() -> None:
    redactor = knowing("first-value")
    stream = redactor.stream()
    before = stream.feed(b"later-value ")
    redactor.add("s1", Secret("later-value"))
    redactor.add("other", Secret("later-value"))  # known already

    assert (before, stream.feed(b"later-value ")) == (b"later-value ", b"[secret s1] ")


def test_the_lines_of_a_longer_value_are_values_too() -> None:
    lines = [secrets.token_urlsafe(32) for _ in range(3)]
    redactor = knowing("\n".join(["short", *lines, ""]))

    assert redactor.clean(f"key: {lines[1]}!".encode()) == b"key: [secret s0]!"
    assert redactor.clean("\r\n".join(["short", *lines, ""]).encode()) == GONE
    assert redactor.clean(b"short") == b"short"


@pytest.mark.parametrize("value", ["", "1234", "12345"])
def test_a_value_too_short_to_be_told_from_text_is_not_looked_for(value: str) -> None:
    redactor = knowing(value)
    assert not redactor
    assert redactor.clean(b"1234567890") == b"1234567890"
    assert redactor.text("12345") == "12345"
    assert redactor.document(b'"12345"') == b'"12345"'


def test_there_is_a_limit_to_what_can_be_looked_for() -> None:
    redactor = knowing(*(f"value-number-{number}" for number in range(MOST_VALUES)))
    with pytest.raises(TooLarge):
        redactor.add("one more", Secret("one value too many"))
    assert redactor.clean(b"value-number-299") == b"[secret s299]"


def test_a_very_long_value_goes_also_when_it_comes_byte_by_byte() -> None:
    value = secrets.token_urlsafe(6000)
    stream = knowing(value).stream()

    shown = b"".join(stream.feed(bytes([byte])) for byte in b"<" + value.encode() + b"> and on")

    assert shown + stream.close() == b"<" + GONE + b"> and on"


def test_what_nearly_is_a_value_over_and_over_cannot_take_for_ever() -> None:
    redactor = knowing("a" * 3000 + "b")
    began = time.process_time()

    shown = redactor.clean(b"a" * 1_000_000)

    assert shown.endswith(WITHHELD)
    assert len(shown) < 10_000
    assert time.process_time() - began < 20
    assert redactor.stream().feed(b"a" * 100) in (b"", WITHHELD)


def test_json_stays_json_and_is_searched_in_names_texts_and_numbers() -> None:
    redactor = knowing('say "hi", you', "48151623", 'x":{"y":1')
    value = {"a": ['say "hi", you', 48151623, 4815162300.5, True, None, 7], 'say "hi", you': {"x": {"y": 1}}}

    out = json.loads(redactor.document(json.dumps(value).encode()))

    assert out == {
        "a": ["[secret s0]", "[secret s1]", "[secret s1]00.5", True, None, 7],
        "[secret s0]": {"x": {"y": 1}},
    }


def test_utf_16_within_json_is_found() -> None:
    out = knowing("hunter22").document(json.dumps("hunter22".encode("utf-16-le").decode()).encode())
    assert json.loads(out) == "[secret s0]"


def test_json_without_a_value_is_the_same_bytes() -> None:
    text = b'{"a": 1.0, "b": "\\u00e4"  }'
    assert Redactor().document(text) is text
    assert json.loads(knowing("hunter22").document(text)) == json.loads(text)
    plain = b'{"a":   1.0}'
    assert knowing("hunter22").document(plain) is plain


def test_a_problem_keeps_its_kind_and_loses_the_value() -> None:
    problem = Conflict(
        "it was hunter22", hint="not hunter22", partly=["path://local/hunter22"],
        errors=[Fault("$.hunter22", "hunter22")], fix=Fix("files.read", {"path": "hunter22"}),
    )  # fmt: skip
    knowing("hunter22").problem(problem)

    assert "hunter22" not in json.dumps(problem.document()) + str(problem)
    assert problem.document()["type"] == "/problems/conflict"
    assert problem.fix == Fix("files.read", {"path": "[secret s0]"})


def test_a_problem_without_more_than_a_text_stays_so() -> None:
    problem = Conflict("it was hunter22")
    problem.hint = None
    knowing("hunter22").problem(problem)
    assert (problem.hint, problem.fix, problem.detail) == (None, None, "it was [secret s0]")


def broken(value: str) -> BaseException:
    try:
        try:
            raise KeyError(value)
        except KeyError as inner:
            raise ValueError(f"{value[:4]}...{value[-4:]}") from inner
    except ValueError as bug:
        return bug


def test_an_exception_says_where_it_was_raised_and_not_what_it_says() -> None:
    shown = "".join(traceback.format_exception(knowing("hunter22").fault(broken("hunter22"))))

    assert "hunt" not in shown.replace('"hunter22"', "")  # the source line of this test
    assert "KeyError: what it says is left out" in shown
    assert "ValueError: what it says is left out" in shown
    assert "in broken" in shown


def test_an_exception_of_a_call_without_secrets_is_left_alone() -> None:
    bug = broken("hunter22")
    assert Redactor().fault(bug) is bug


@pytest.mark.parametrize("text", ["a\udcffb hunter22", "\udcff"])
def test_texts_that_are_no_unicode_do_no_harm(text: str) -> None:
    assert "hunter22" not in knowing("hunter22").text(text)


@pytest.mark.parametrize("value", ["päss\udcffword", "😀😀😀 smile", "a\nb\r\nc\td\\e"])
def test_values_of_any_characters_are_found(value: str) -> None:
    data = value.encode("utf-8", "surrogatepass")
    for written in (data, base64.b64encode(data), data.hex().encode()):
        assert knowing(value).clean(b"(" + written + b")").startswith(b"(" + GONE)
