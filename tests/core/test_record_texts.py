"""Record texts: the short way writes what the long way writes, or does not write at all."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.audit import decode_record, encode
from superagent.core.invocation import Call, EffectNote, Invocation, Outcome, Status, Ticket
from superagent.core.policy import Decision
from superagent.core.problems import Conflict
from superagent.core.records import Recorder
from superagent.core.resources import Resource
from tests.core.operations import operation, person

WHO = person("ann").delegate("bot", "agent")
DECISION = Decision("allow", "granted", ("g1", 'g"2', "g%b"), policy_version=9, digest="d1")
READ = operation("notes.read")
PLAIN = Outcome("01A", READ.name, Status.DONE, b'{"x":1}', seconds=0.25)


def ticket(call: dict[str, Any] | None = None, resources: tuple[Resource, ...] = (), **invocation: Any) -> Ticket:
    asked = Call(READ.name, {}, **(call or {}))
    made = Invocation("01A", asked, WHO, "http", 5.0, **invocation)
    return Ticket(made, READ, {}, resources, DECISION, "i1")


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder(lambda tenant, subject, detail: f"sealed {detail!r}")
    assert made.texts.text(ticket(), 7.0, PLAIN) is None  # the first goes the long way
    return made


@given(
    at=st.floats(1.0, 2.0**40),
    seconds=st.floats(1e-9, 1e5),
    output=st.binary(min_size=1, max_size=100),
    id=st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26),
    batch=st.sampled_from(["", "01B"]),
    learned_in_one=st.booleans(),
)
def test_both_ways_write_the_same_record(
    at: float, seconds: float, output: bytes, id: str, batch: str, learned_in_one: bool
) -> None:
    recorder = Recorder(lambda tenant, subject, detail: f"sealed {detail!r}")
    made = msgspec.structs.replace(
        ticket(), invocation=msgspec.structs.replace(ticket().invocation, id=id, batch=batch)
    )
    outcome = Outcome(id, READ.name, Status.DONE, output, seconds=seconds)
    recorder.texts.text(ticket(batch="01L") if learned_in_one else ticket(), 1.0, outcome)
    text = recorder.texts.text(made, at, outcome)
    record = recorder.of("outcome", made, at, outcome)

    assert text is not None
    assert decode_record(text) == record
    assert list(msgspec.json.decode(text)) == list(msgspec.json.decode(encode(record)))  # fields in the same order


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (ticket({"reason": "because"}), PLAIN),
        (ticket({"session": "s1"}), PLAIN),
        (ticket({"isolation": "native"}), PLAIN),
        (ticket(parent="01P"), PLAIN),
        (ticket(trace="t1"), PLAIN),
        (ticket(resources=(Resource("path", "local", "/a"),)), PLAIN),
        (ticket(), msgspec.structs.replace(PLAIN, effects=(EffectNote("path://local/a", "CHANGE"),))),
        (ticket(), msgspec.structs.replace(PLAIN, extra={"more": 1})),
        (ticket(), msgspec.structs.replace(PLAIN, output=b"")),
        (ticket(), msgspec.structs.replace(PLAIN, seconds=0.0)),
        (ticket(), msgspec.structs.replace(PLAIN, status=Status.PREVIEWED)),
        (ticket(), msgspec.structs.replace(PLAIN, status=Status.FAILED, problem=Conflict("no"))),
    ],
)
def test_what_says_more_than_most_goes_the_long_way(recorder: Recorder, made: Ticket, outcome: Outcome) -> None:
    assert recorder.texts.text(made, 7.0, outcome) is None


def test_another_decision_caller_or_door_is_not_written_as_the_one_before(recorder: Recorder) -> None:
    other = Decision("allow", "granted", ("g3",), policy_version=10, digest="d2")
    moved = msgspec.structs.replace(ticket(), decision=other)
    elsewhere = msgspec.structs.replace(ticket().invocation, channel="cli")
    for made in (moved, msgspec.structs.replace(ticket(), invocation=elsewhere)):
        assert recorder.texts.text(made, 7.0, PLAIN) is None
        text = recorder.texts.text(made, 8.0, PLAIN)
        assert text is not None
        assert decode_record(text) == recorder.of("outcome", made, 8.0, PLAIN)


def test_a_flood_of_callers_is_not_kept_without_end(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superagent.core.record_texts.MOST_KEPT", 1)
    other = msgspec.structs.replace(ticket(), invocation=msgspec.structs.replace(ticket().invocation, channel="cli"))
    recorder.texts.text(other, 7.0, PLAIN)
    assert recorder.texts.text(other, 7.0, PLAIN) is not None
    assert recorder.texts.text(ticket(), 7.0, PLAIN) is None  # it was forgotten, and is learned again


def test_a_read_that_may_be_answered_again_is_written_the_short_way_with_what_it_touched() -> None:
    recorder = Recorder(lambda tenant, subject, detail: f"sealed {detail!r}")
    here, there = ((Resource("path", "local", path),) for path in ("/srv/a", '/srv/"b"'))
    for resources in (here, there, here):
        for output in (b'{"x":1}', b'{"x":2}'):
            made = ticket(resources=resources)
            outcome = msgspec.structs.replace(PLAIN, output=output, tag="t", digest=hashlib.sha256(output).hexdigest())
            recorder.texts.text(made, 1.0, outcome)
            text = recorder.texts.text(made, 7.0, outcome)

            assert text is not None
            assert decode_record(text) == recorder.of("outcome", made, 7.0, outcome)
            assert decode_record(text).resources == ((resources[0].id, "READ"),)
