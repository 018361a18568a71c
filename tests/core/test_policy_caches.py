"""What policy remembers never answers for somebody or something else, and never grows without end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from superagent.core import policy as policy_module
from superagent.core.operation import Operation
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, judge, path, policy, reads, verdict
from tests.core.operations import agent, operation, person


def test_a_decision_on_nothing_is_remembered() -> None:
    open_to_all = policy(grant("allow"))
    who = person()
    assert judge(open_to_all, "self.whoami", who=who) is judge(open_to_all, "self.whoami", who=who)


def test_only_what_was_decided_for_every_call_can_be_looked_up() -> None:
    open_to_all, asks, who = policy(grant("allow")), policy(grant("ask")), person()
    assert open_to_all.settled(who, operation("self.whoami"), "human") is None
    decided = judge(open_to_all, "self.whoami", who=who)
    assert open_to_all.settled(who, operation("self.whoami"), "human") is decided
    assert open_to_all.settled(who, operation("self.whoami"), "agent") is None
    assert open_to_all.settled(person(), operation("self.whoami"), "human") is None
    assert verdict(asks, "self.whoami", who=who) == "ask"
    assert reads(open_to_all, "/a", who) == "allow"
    assert asks.settled(who, operation("self.whoami"), "human") is None
    assert open_to_all.settled(who, operation("notes.read"), "human") is None


def test_the_remembered_decision_names_only_what_holds_for_every_call() -> None:
    fresh = grant("allow", id="fresh", when={"mfa_max_age_s": 60})
    who, mixed = person(), policy(grant("allow", id="plain"), fresh)
    assert judge(mixed, "self.whoami", who=who, second_factor_age_s=0.0).grants == ("plain",)
    assert judge(mixed, "self.whoami", who=who).grants == ("plain",)


def test_what_a_human_may_is_not_remembered_for_a_workflow_of_the_same_principal() -> None:
    people, who = policy(grant("allow", origin=["human"])), person()
    origins = ["human", "workflow", "human", "agent"]
    assert [verdict(people, "self.whoami", who=who, origin=one) for one in origins] == [
        "allow",
        "deny",
        "allow",
        "deny",
    ]


def test_what_is_allowed_at_one_risk_is_not_remembered_for_a_higher_one() -> None:
    careful, who = policy(grant("allow", max_risk="LOW")), person()
    risks = [Risk.LOW, Risk.HIGH, Risk.LOW]
    assert [verdict(careful, "self.whoami", who=who, risk=risk) for risk in risks] == ["allow", "deny", "allow"]


@pytest.mark.parametrize(
    ("deny", "facts", "later"),
    [
        ({"when": {"hours": "12:00-13:00"}}, {"now": NOON_MONDAY - 60}, {}),
        ({"when": {"cidr": ["10.0.0.0/8"]}}, {"remote": "192.0.2.1"}, {"remote": "10.0.0.1"}),
        ({"when": {"mfa_max_age_s": 60}}, {"second_factor_age_s": 1.0}, {"second_factor_age_s": 61.0}),
        ({"isolation": "vm"}, {"isolation": 4}, {"isolation": 3}),
        ({"require": {"approvals": 1}}, {"approvals": 1}, {}),
        ({"where": {"args": {"mode": "bad"}}}, {"args": {"mode": "good"}}, {"args": {"mode": "bad"}}),
    ],
)
def test_a_deny_that_looks_at_the_single_call_is_asked_each_time(
    deny: dict[str, Any], facts: dict[str, Any], later: dict[str, Any]
) -> None:
    guarded, who = policy(grant("allow"), grant("deny", **deny)), person()
    assert verdict(guarded, "self.whoami", who=who, **facts) == "allow"
    assert verdict(guarded, "self.whoami", who=who, **later) != "allow"


@pytest.mark.parametrize(
    ("allow", "facts", "later"),
    [
        ({"when": {"hours": "12:00-13:00"}}, {}, {"now": NOON_MONDAY - 60}),
        ({"when": {"cidr": ["10.0.0.0/8"]}}, {"remote": "10.0.0.1"}, {"remote": "192.0.2.1"}),
        ({"when": {"mfa_max_age_s": 60}}, {"second_factor_age_s": 1.0}, {"second_factor_age_s": 61.0}),
        ({"isolation": "vm"}, {"isolation": 4}, {"isolation": 3}),
        ({"where": {"args": {"mode": "good"}}}, {"args": {"mode": "good"}}, {"args": {"mode": "bad"}}),
    ],
)
def test_an_allow_that_looks_at_the_single_call_is_asked_each_time(
    allow: dict[str, Any], facts: dict[str, Any], later: dict[str, Any]
) -> None:
    guarded, who = policy(grant("allow", **allow)), person()
    assert verdict(guarded, "self.whoami", who=who, **facts) == "allow"
    assert verdict(guarded, "self.whoami", who=who, **later) != "allow"


def test_an_approval_is_not_remembered_for_the_next_call() -> None:
    asks, who = policy(grant("ask")), person()
    assert [verdict(asks, "self.whoami", who=who, approvals=count) for count in (1, 0)] == ["allow", "ask"]


def test_a_deny_on_resources_does_not_keep_a_decision_on_none_from_being_remembered() -> None:
    mixed, who = policy(grant("allow"), grant("deny", where={"paths": ["/x"], "args": {"a": "b"}})), person()
    assert judge(mixed, "self.whoami", who=who) is judge(mixed, "self.whoami", who=who)


def test_an_operation_that_was_replaced_under_its_name_is_judged_anew() -> None:
    reading, who = policy(grant("allow", effects=["READ"], undoable=True)), person()
    harmless = operation("self.whoami")
    changed: Operation = replace(harmless, effect=Effect.DESTROY, takes_back="irreversible")
    facts = Facts("human", Risk.LOW, NOON_MONDAY)
    assert reading.decide(who, harmless, (), facts).verdict == "allow"
    assert reading.decide(who, changed, (), facts).verdict == "deny"
    assert not reading.may_try(who, changed)


def test_two_principals_of_one_id_do_not_share_an_answer() -> None:
    own = policy(grant("allow", subject="role:owner"))
    assert verdict(own, "self.whoami", who=person("ann", "owner")) == "allow"
    assert verdict(own, "self.whoami", who=person("ann")) == "deny"
    assert verdict(own, "self.whoami", who=Principal("ann", "agent", "default")) == "deny"


def test_policies_of_two_tenants_answer_for_themselves() -> None:
    ours, theirs = policy(grant("allow", subject="user:ann")), policy()
    mine, other = person("ann"), Principal("ann", "human", "elsewhere")
    assert reads(ours, "/a", mine) == "allow"
    assert reads(theirs, "/a", other) == "deny"


def test_the_table_of_one_workspace_does_not_answer_for_another() -> None:
    own = policy(grant("allow", where={"paths": ["{workspace}/**"]}))
    kinds = [agent("bot", workspace=one) for one in ("/ws/a", "/ws/b")]
    assert [reads(own, "/ws/a/x", who) for who in kinds * 2] == ["allow", "deny"] * 2
    assert len({id(own.table(who, operation("notes.read"))) for who in kinds}) == 2


def test_tables_are_dropped_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "_MOST_RULES", 10)
    wide = policy(grant("allow", subject="role:agent"))
    for number in range(1000):
        assert reads(wide, "/a", agent(f"bot{number}", "agent")) == "allow"
        assert 0 < len(wide._tables) <= 5  # pyright: ignore[reportPrivateUsage]


def test_remembered_decisions_are_dropped_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "_MOST_SETTLED", 10)
    wide = policy(grant("allow"))
    for number in range(1000):
        assert verdict(wide, "self.whoami", who=person(f"user{number}")) == "allow"
        assert 0 < len(wide._settled) <= 10  # pyright: ignore[reportPrivateUsage]


def test_a_path_deeper_than_any_grant_is_found_by_its_folders() -> None:
    many = policy(*(grant("allow", id=f"g{number}", where={"paths": [f"/srv/{number}/**"]}) for number in range(1_000)))
    assert judge(many, "notes.read", path("/srv/77/" + "a/" * 500 + "b")).grants == ("g77",)
    assert judge(many, "notes.read", path("/srv/x")).grants == ()


@pytest.mark.parametrize(
    ("deny", "facts", "later"),
    [
        ({"when": {"hours": "12:00-13:00"}}, {"now": NOON_MONDAY - 60}, {}),
        ({"when": {"cidr": ["10.0.0.0/8"]}}, {"remote": "192.0.2.1"}, {"remote": "10.0.0.1"}),
        ({"when": {"mfa_max_age_s": 60}}, {"second_factor_age_s": 0.0}, {"second_factor_age_s": 61.0}),
        ({"when": {"mfa_max_age_s": 60}}, {"second_factor_age_s": 0.0}, {"second_factor_age_s": None}),
        ({"isolation": "vm"}, {"isolation": 4}, {"isolation": 3}),
        ({"require": {"approvals": 1}}, {"approvals": 1}, {}),
        ({"where": {"args": {"mode": "bad"}}}, {"args": {"mode": "good"}}, {"args": {"mode": "bad"}}),
        ({"origin": ["workflow"]}, {"origin": "human"}, {"origin": "workflow"}),
        ({"max_risk": "LOW"}, {"risk": Risk.LOW}, {"risk": Risk.HIGH}),
    ],
)
def test_what_was_said_of_a_file_is_not_said_when_something_else_is_so(
    deny: dict[str, Any], facts: dict[str, Any], later: dict[str, Any]
) -> None:
    guarded, who = policy(grant("allow"), grant("deny", **deny)), person()
    for _ in range(2):
        assert reads(guarded, "/a", who, **facts) == "allow"
        assert reads(guarded, "/a", who, **later) != "allow"


def test_what_was_said_of_a_file_is_remembered_for_it_and_its_caller_alone() -> None:
    judged, who = policy(grant("allow", where={"paths": ["/a/**"]})), person()
    first = judge(judged, "notes.read", path("/a/f"), who=who)
    assert judge(judged, "notes.read", path("/a/f"), who=who) is first
    assert reads(judged, "/b", who) == "deny"
    assert verdict(judged, "notes.read", path("/a/f", Effect.DESTROY), path("/b"), who=who) == "deny"
    assert reads(judged, "/a/f", person("mallory")) == "allow"


def test_decisions_on_files_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "_MOST_SETTLED", 3)
    judged, who = policy(grant("allow")), person()
    first = judge(judged, "notes.read", path("/0"), who=who)
    for at in range(1, 4):
        judge(judged, "notes.read", path(f"/{at}"), who=who)
    assert judge(judged, "notes.read", path("/0"), who=who) == first
    assert len(judged._decided) <= 3  # pyright: ignore[reportPrivateUsage]
