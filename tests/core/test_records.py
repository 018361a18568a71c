"""Records: what the audit log is told, and how a flood of refusals stays small."""

from __future__ import annotations

import hashlib

import pytest

from superagent.core.invocation import Call, Invocation, Outcome, Status, Ticket
from superagent.core.policy import Decision
from superagent.core.principal import Facts as Caller
from superagent.core.principal import Principal
from superagent.core.problems import Denied, Unauthenticated
from superagent.core.records import Flood, Recorder
from superagent.core.resources import Effect, Resource, Risk
from superagent.core.rules import Facts
from tests.core.operations import operation, person


class Seals:
    """Seal by writing down what was to be sealed."""

    def __init__(self) -> None:
        self.sealed: list[tuple[str, str, bytes]] = []

    def __call__(self, tenant: str, subject: str, detail: bytes) -> str:
        self.sealed.append((tenant, subject, detail))
        return f"sealed-{len(self.sealed)}"


@pytest.fixture
def seals() -> Seals:
    return Seals()


@pytest.fixture
def recorder(seals: Seals) -> Recorder:
    return Recorder(seals)


def ticket(who: Principal, reason: str = "", parent: str = "", batch: str = "") -> Ticket:
    call = Call("notes.write", {"path": "/a"}, reason=reason, session="s1")
    invocation = Invocation("01A", call, who, "http", 5.0, parent, trace="t1", batch=batch)
    resources = (Resource("path", "local", "/a", Effect.CHANGE),)
    decision = Decision("allow", "granted", ("g1",), policy_version=9, digest="d1")
    return Ticket(invocation, operation("notes.write"), {}, resources, decision, "i1", Facts("human", Risk.LOW, 5.0))


def outcome(**more: object) -> Outcome:
    return Outcome("01A", "notes.write", Status.DONE, seconds=0.12345678, **more)  # pyright: ignore[reportArgumentType]


def test_an_intent_says_who_is_about_to_do_what_by_which_right(recorder: Recorder) -> None:
    who = person("ann").delegate("bot", "agent")
    record = recorder.of("intent", ticket(who, parent="01P"), 7.0)
    assert (record.kind, record.at, record.invocation, record.parent) == ("intent", 7.0, "01A", "01P")
    assert (record.tenant, record.who, record.chain_of, record.channel) == ("default", "bot", ("bot", "ann"), "http")
    assert (record.operation, record.version, record.resources) == ("notes.write", 1, (("path://local/a", "CHANGE"),))
    assert (record.decision, record.grants, record.decision_digest, record.policy_version) == (
        "allow",
        ("g1",),
        "d1",
        9,
    )
    assert (record.input_digest, record.session, record.trace, record.status) == ("i1", "s1", "t1", "")


def test_a_call_of_a_batch_names_the_batch_as_its_parent(recorder: Recorder) -> None:
    assert recorder.of("intent", ticket(person(), batch="01B"), 7.0).parent == "01B"
    assert recorder.of("intent", ticket(person(), parent="01P", batch="01B"), 7.0).parent == "01P"


def test_an_outcome_says_what_came_of_it(recorder: Recorder) -> None:
    record = recorder.of("outcome", ticket(person()), 8.0, outcome(output=b"{}"))
    assert (record.status, record.seconds, record.bytes, record.problem) == ("done", 0.123456, 2, "")
    assert record.output_digest == hashlib.sha256(b"{}").hexdigest()


def test_a_failed_outcome_names_its_problem_and_what_it_changed(recorder: Recorder) -> None:
    record = recorder.of("outcome", ticket(person()), 8.0, outcome(problem=Denied("no", changed="partly")))
    assert (record.problem, record.changed) == ("denied", "partly")


def test_a_refusal_says_why(recorder: Recorder) -> None:
    said = Decision("deny", "a grant forbids this", ("g1",), policy_version=7, digest="d1")
    touched = (Resource("path", "local", "/a", Effect.CHANGE),)
    asked = ticket(person(), batch="01B").invocation
    record = recorder.refused(asked, 8.0, Denied("not granted"), "i1", said, touched)
    assert (record.kind, record.problem, record.decision, record.input_digest) == ("refused", "denied", "deny", "i1")
    assert (record.grants, record.policy_version, record.decision_digest) == (("g1",), 7, "d1")
    assert record.resources == (("path://local/a", "CHANGE"),)
    assert (record.detail, record.parent, record.changed) == ({"why": "not granted"}, "01B", "nothing")
    assert recorder.refused(ticket(person()).invocation, 8.0, Denied()).detail == {}


def test_the_refusal_of_an_endless_name_is_short(recorder: Recorder) -> None:
    long = Invocation("01A", Call("x" * 10_000, {}), person(), "http", 5.0)
    assert len(recorder.refused(long, 8.0, Denied()).operation) == 200


def test_a_key_that_somebody_sent_as_a_name_is_not_recorded(recorder: Recorder) -> None:
    sent = Invocation("01A", Call("files.sak_" + "A" * 43, {}), person(), "http", 5.0)
    assert recorder.refused(sent, 8.0, Denied()).operation == "files.[redacted]"


def test_of_a_stranger_only_the_source_is_known(recorder: Recorder, seals: Seals) -> None:
    record = recorder.stranger(Caller("10.0.0.1", "curl", "http"), 8.0, Unauthenticated("bad key"), count=3)
    assert (record.kind, record.tenant, record.who, record.count) == ("refused", "system", "anonymous", 3)
    assert record.detail == {"remote": "10.0.0.1", "why": "bad key"}
    assert seals.sealed == []


def test_what_is_no_call_is_an_event(recorder: Recorder) -> None:
    record = recorder.event("settings.changed", 8.0, who="ann", detail={"name": "x"})
    assert (record.kind, record.operation, record.tenant, record.who, record.detail) == (
        "event",
        "settings.changed",
        "system",
        "ann",
        {"name": "x"},
    )
    assert recorder.event("start", 8.0).detail == {}


def test_address_and_reason_are_sealed_under_the_persons_own_key(recorder: Recorder, seals: Seals) -> None:
    record = recorder.of("intent", ticket(person(remote="10.0.0.1"), reason="why not"), 7.0)
    assert record.personal == "sealed-1"
    assert seals.sealed == [("default", "ann", b"10.0.0.1\nwhy not")]
    assert "10.0.0.1" not in str(record)
    assert "why not" not in str(record)


def test_without_a_reason_the_address_is_sealed_once(recorder: Recorder, seals: Seals) -> None:
    who = person(remote="10.0.0.1")
    first, again = recorder.of("intent", ticket(who), 7.0), recorder.of("outcome", ticket(who), 8.0, outcome())
    assert first.personal == again.personal == "sealed-1"
    assert recorder.of("intent", ticket(person(remote="10.0.0.1")), 7.0).personal == "sealed-2"
    assert recorder.of("intent", ticket(who, reason="now with one"), 7.0).personal == "sealed-3"
    assert recorder.of("intent", ticket(who), 7.0).personal == "sealed-1"
    assert recorder.refused(ticket(who).invocation, 8.0, Denied()).personal


def test_a_record_leaves_out_what_the_call_has_not(recorder: Recorder) -> None:
    call = Call("self.whoami", {})
    bare = Ticket(
        Invocation("01A", call, person(), "http", 5.0),
        operation("self.whoami"),
        {},
        (),
        Decision("allow", "granted"),
        "i1",
        Facts("human", Risk.LOW, 5.0),
    )
    record = recorder.of("intent", bare, 7.0)
    assert (record.resources, record.parent, record.session, record.trace, record.output_digest) == ((), "", "", "", "")


def test_nothing_personal_seals_nothing(recorder: Recorder, seals: Seals) -> None:
    assert recorder.of("intent", ticket(person()), 7.0).personal == ""
    assert seals.sealed == []


def test_sealed_addresses_are_not_kept_without_end(recorder: Recorder, seals: Seals) -> None:
    first = person(remote="10.0.0.1")
    recorder.of("intent", ticket(first), 7.0)
    for number in range(4097):
        recorder.of("intent", ticket(person(f"p{number}", remote="10.0.0.2")), 7.0)
    recorder.of("intent", ticket(first), 7.0)
    assert len(seals.sealed) == 4099


# ---- floods

KEY = ("10.0.0.1", "http", "unauthenticated")


def test_the_first_refusals_are_recorded_and_the_rest_of_the_window_is_counted() -> None:
    flood = Flood(first=2, window_s=10.0)
    assert [flood.admit(KEY, 100.0 + second) for second in range(5)] == [
        (True, 0),
        (True, 0),
        (False, 0),
        (False, 0),
        (False, 0),
    ]
    assert flood.admit(KEY, 110.0) == (False, 0)
    assert flood.admit(KEY, 110.1) == (True, 4)
    assert flood.admit(KEY, 110.2) == (True, 0)


def test_a_window_that_swallowed_nothing_reports_nothing() -> None:
    flood = Flood(first=2, window_s=10.0)
    flood.admit(KEY, 100.0)
    assert flood.admit(KEY, 111.0) == (True, 0)


def test_sorts_of_refusal_are_counted_apart() -> None:
    flood = Flood(first=1)
    other = ("10.0.0.2", "http", "unauthenticated")
    assert [flood.admit(key, 100.0)[0] for key in (KEY, other, KEY, other)] == [True, True, False, False]


def test_too_many_sources_at_once_are_counted_together() -> None:
    flood = Flood(first=2, capacity=3)
    for number in range(3):
        assert flood.admit((f"10.0.0.{number}", "http", "denied"), 100.0)[0]
    late = [flood.admit((f"10.0.1.{number}", "http", "denied"), 100.0)[0] for number in range(4)]
    assert late == [True, True, False, False]
    assert flood.rest(100.0, every=True) == [(("*", "*", "denied"), 2)]


def test_what_was_swallowed_is_told_when_its_window_has_ended() -> None:
    flood = Flood(first=1, window_s=10.0)
    other = ("10.0.0.2", "http", "unauthenticated")
    for _ in range(3):
        flood.admit(KEY, 100.0)
    flood.admit(other, 109.0)
    assert flood.rest(110.0) == []
    assert flood.rest(110.1) == [(KEY, 2)]
    assert flood.rest(110.1) == []
    assert flood.rest(110.1, every=True) == []
    assert flood.admit(other, 110.1) == (True, 0)
