"""An audit record becomes one line, whatever it holds, and each line is tied to the one before."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.audit import (
    MAX_LINE,
    ZERO,
    AuditRecord,
    Chain,
    clean,
    decode_record,
    encode,
    encode_any,
    hash_of,
    parse,
)

texts = st.text()
details = st.dictionaries(
    texts, st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, st.lists), max_size=4
)


@settings(max_examples=40)
@given(
    st.builds(
        AuditRecord,
        kind=st.sampled_from(["intent", "outcome", "refused", "approved", "undo", "event"]),
        at=st.floats(0, 4e9),
        who=texts,
        resources=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
        detail=details,
    )
)
def test_every_record_is_one_line_that_reads_back(record: AuditRecord) -> None:
    line = Chain().append(encode(record))
    assert line.count(b"\n") == 1
    parsed = parse(line)
    assert parsed
    assert parsed[1] == hash_of(ZERO, parsed[0])
    assert encode(decode_record(parsed[0])) == encode(record)


def test_fields_that_are_empty_are_not_written() -> None:
    assert encode(AuditRecord(kind="event", at=1.0)) == b'{"kind":"event","at":1.0}'


def test_lines_are_numbered_and_each_hash_covers_the_hash_before() -> None:
    chain = Chain()
    one, two = (chain.append(encode(AuditRecord(kind="event", at=float(n)))) for n in range(2))
    first, second = parse(one), parse(two)
    assert first
    assert second
    assert [json.loads(text)["seq"] for text, _ in (first, second)] == [1, 2]
    assert first[1] == hashlib.sha256(bytes(32) + first[0]).digest()
    assert second[1] == hashlib.sha256(first[1] + second[0]).digest()
    assert (chain.seq, chain.head) == (2, second[1])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"a":1}\t' + b"0" * 63 + b"\n",
        b'{"a":1}\t' + b"g" * 64 + b"\n",
        b'{"a":1} ' + b"0" * 64 + b"\n",
        b'{"a":1}\t' + b"0" * 64,
        b'{"a":1}\t' + b"\xff" * 64 + b"\n",
        b"\t" + b"0" * 64 + b"\n",
    ],
)
def test_what_has_not_the_shape_of_a_line_is_not_taken_for_one(line: bytes) -> None:
    assert parse(line) is None


def test_a_record_that_is_too_long_keeps_what_it_is_about_and_says_what_was_left_out() -> None:
    long = AuditRecord(kind="intent", at=1.0, who="user:a", invocation="x", detail={"text": "a" * MAX_LINE})
    text = encode(long)
    assert len(text) < MAX_LINE
    assert decode_record(text).who == "user:a"
    assert decode_record(text).detail == {"omitted_bytes": len(encode_any(long))}


@pytest.mark.parametrize("name", ["path://local/srv/{:06}", "path://local/" + "x" * 1000 + "/{}"])
def test_a_record_about_very_many_resources_keeps_a_hundred_and_the_digest_of_all(name: str) -> None:
    many = tuple((name.format(n), "CHANGE") for n in range(5000))
    kept = decode_record(encode(AuditRecord(kind="intent", at=1.0, resources=many)))
    assert len(kept.resources) == 100
    assert kept.resources[0][0] == many[0][0][:256]
    assert kept.detail["resources"] == 5000
    everything = json.dumps(many, separators=(",", ":"), ensure_ascii=False).encode()
    assert kept.detail["resources_sha256"] == hashlib.sha256(everything).hexdigest()
    assert len(encode(kept)) <= MAX_LINE


def test_lone_surrogates_come_out_as_text_anywhere_in_a_record() -> None:
    detail: dict[str, Any] = {"\udcff": ["\udc80", {"n": 1, "t": None}]}
    record = AuditRecord(kind="intent", at=1.0, who="a\udcffb", resources=(("x\udcff", "READ"),), detail=detail)
    back = decode_record(encode(record))
    assert back.who == "a\\udcffb"
    assert back.resources == (("x\\udcff", "READ"),)
    assert back.detail == {"\\udcff": ["\\udc80", {"n": 1, "t": None}]}


def test_secrets_are_taken_out_of_the_detail_and_the_rest_stays() -> None:
    record = AuditRecord(kind="event", at=1.0, who="user:a", detail={"password": "hunter22", "port": 22})
    assert clean(record).detail == {"password": "[redacted]", "port": 22}
    assert clean(record).who == "user:a"
    plain = AuditRecord(kind="event", at=1.0)
    assert clean(plain) is plain
