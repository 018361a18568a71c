"""Policy: the verdict on a call, and why."""

from __future__ import annotations

import pytest

from superagent.core.grants import Grant
from superagent.core.policy import REASONS, Decision
from superagent.core.principal import Principal
from superagent.core.resources import Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, judge, path, policy, reads
from tests.core.operations import agent, operation, person

SRV = {"paths": ["/srv/**"]}
FACTS = Facts("human", Risk.LOW, NOON_MONDAY)


# ---- the four worlds


def test_nothing_is_allowed_without_a_grant() -> None:
    decision = judge(policy(), "notes.read", path("/srv/a"))
    assert (decision.verdict, decision.reason, decision.grants) == ("deny", "nothing grants this", ())


def test_an_allow_grant_allows_and_is_named_with_the_policy_version() -> None:
    decision = judge(policy(grant("allow")), "notes.read", path("/srv/a"))
    assert (decision.verdict, decision.reason, decision.grants, decision.policy_version) == (
        "allow",
        "granted",
        ("allow",),
        3,
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_deny_grant_beats_an_allow_grant_in_either_order(order: int) -> None:
    decision = judge(policy(*[grant("allow"), grant("deny")][::order]), "notes.read", path("/srv/a"))
    assert (decision.verdict, decision.reason, decision.grants) == ("deny", REASONS["deny"], ("deny",))


def test_an_ask_grant_asks_until_enough_people_approved() -> None:
    asks = policy(grant("ask", require={"approvals": 2}))
    assert [reads(asks, "/a", approvals=count) for count in range(4)] == ["ask", "ask", "allow", "allow"]
    assert judge(asks, "notes.read", path("/a"), approvals=1).approvals == 2


def test_an_allow_grant_beats_an_ask_grant() -> None:
    assert reads(policy(grant("ask"), grant("allow")), "/a") == "allow"


def test_a_deny_that_requires_approvals_is_a_mandatory_ask_that_beats_any_allow() -> None:
    guarded = policy(grant("allow"), grant("deny", require={"approvals": 1}))
    decision = judge(guarded, "notes.read", path("/a"))
    assert (decision.verdict, decision.grants, decision.approvals) == ("ask", ("allow", "deny"), 1)
    assert reads(guarded, "/a", approvals=1) == "allow"


def test_a_stale_or_missing_second_factor_means_step_up() -> None:
    fresh = policy(grant("allow", when={"mfa_max_age_s": 60}))
    ages = [None, 61.0, 60.0, 0.0]
    assert [reads(fresh, "/a", second_factor_age_s=age) for age in ages] == ["step_up", "step_up", "allow", "allow"]


def test_a_deny_that_demands_a_second_factor_strikes_until_it_is_fresh() -> None:
    guarded = policy(grant("allow"), grant("deny", when={"mfa_max_age_s": 60}))
    assert reads(guarded, "/a") == "step_up"
    assert reads(guarded, "/a", second_factor_age_s=1.0) == "allow"


def test_step_up_comes_before_approval_when_either_or_both_would_do() -> None:
    either = policy(grant("ask"), grant("allow", when={"mfa_max_age_s": 60}))
    both = policy(grant("ask", when={"mfa_max_age_s": 60}))
    assert reads(either, "/a") == "step_up"
    assert reads(both, "/a") == "step_up"
    assert reads(both, "/a", second_factor_age_s=5.0) == "ask"
    assert reads(both, "/a", approvals=1) == "step_up"


@pytest.mark.parametrize(("risk", "expected"), [(Risk.MEDIUM, "allow"), (Risk.HIGH, "allow"), (Risk.CRITICAL, "deny")])
def test_a_risk_above_the_demanded_one_is_met_by_no_proof(risk: Risk, expected: str) -> None:
    assert reads(policy(grant("allow", max_risk="HIGH")), "/a", risk=risk) == expected
    assert reads(policy(grant("allow"), grant("deny", max_risk="HIGH")), "/a", risk=risk) == expected


@pytest.mark.parametrize(("level", "expected"), [(1, "deny"), (2, "allow"), (3, "allow")])
def test_isolation_is_a_minimum(level: int, expected: str) -> None:
    assert reads(policy(grant("allow", isolation="native")), "/a", isolation=level) == expected
    assert reads(policy(grant("allow"), grant("deny", isolation="native")), "/a", isolation=level) == expected


def test_a_deny_strikes_unless_all_its_demands_are_met() -> None:
    guarded = policy(grant("allow"), grant("deny", max_risk="LOW", require={"approvals": 1}))
    assert reads(guarded, "/a") == "ask"
    assert reads(guarded, "/a", approvals=1) == "allow"
    assert reads(guarded, "/a", approvals=1, risk=Risk.HIGH) == "deny"


# ---- which people


def by(*grants: Grant, who: Principal | None = None) -> tuple[int, tuple[str, ...]]:
    decision = judge(policy(*grants), "notes.read", path("/a"), who=who)
    assert decision.verdict == "ask"
    return decision.approvals, decision.by


def asks(approvals: int, *by: str, effect: str = "ask", subject: str = "*") -> Grant:
    return grant(effect, subject=subject, require={"approvals": approvals, "by": [*by]})


def test_the_easiest_permit_says_who_must_approve() -> None:
    assert by(asks(2, "role:a"), asks(1, "role:b")) == (1, ("role:b",))
    assert by(asks(1, "role:a"), asks(1, "role:b")) == (1, ("role:a", "role:b"))
    assert by(asks(1, "role:a"), asks(1)) == (1, ())


def test_an_easy_permit_for_some_never_weakens_a_mandatory_approval_by_others() -> None:
    assert by(asks(1, "role:a"), asks(2, "role:b", effect="deny")) == (2, ("role:a and role:b",))
    assert by(asks(1, "role:a"), asks(1, "role:a", "role:b", effect="deny")) == (1, ("role:a",))
    assert by(grant("allow"), asks(1, "role:b", effect="deny")) == (1, ("role:b",))
    assert by(grant("allow"), grant("ask"), asks(3, effect="deny")) == (3, ())


def test_the_demands_of_every_hop_are_joined() -> None:
    chain = agent("bot", on_behalf_of=person("ann"))
    assert by(asks(1, "role:a", subject="agent:bot"), asks(2, "role:b", subject="user:ann"), who=chain) == (
        2,
        ("role:a and role:b",),
    )


def test_a_permit_that_approval_cannot_open_names_nobody() -> None:
    high = grant("ask", max_risk="LOW", require={"approvals": 1, "by": ["role:a"]})
    decision = judge(policy(high, asks(2)), "notes.read", path("/a"), risk=Risk.HIGH)
    assert (decision.approvals, decision.by) == (2, ())


def test_a_forbid_whose_demands_are_met_had_no_say() -> None:
    asked = judge(policy(grant("ask", id="a"), grant("deny", id="b", max_risk="HIGH")), "notes.read", path("/a"))
    assert (asked.verdict, asked.grants) == ("ask", ("a",))


def test_only_what_had_a_say_is_named_as_deciding() -> None:
    allow, ask = grant("allow", id="a"), grant("ask", id="b")
    elsewhere = grant("deny", id="c", where=SRV)
    step = grant("allow", id="d", when={"mfa_max_age_s": 60})
    assert judge(policy(allow, ask, elsewhere), "notes.read", path("/a")).grants == ("a",)
    assert judge(policy(ask, elsewhere), "notes.read", path("/a")).grants == ("b",)
    assert judge(policy(ask, step), "notes.read", path("/a")).grants == ("d",)
    assert judge(policy(ask, elsewhere), "notes.read", path("/srv/a")).grants == ("c",)
    assert judge(policy(grant("allow", id="e", max_risk="LOW")), "notes.read", path("/a"), risk=Risk.HIGH).grants == ()


# ---- the decision as a value


def test_the_decision_object_is_that_of_the_contract() -> None:
    asked = judge(policy(asks(2, "role:a")), "notes.read", path("/a"))
    assert asked.document() == {
        "verdict": "ask",
        "reason": "a person must approve this",
        "grants": ["ask"],
        "require": {"approvals": 2, "by": ["role:a"]},
        "policy_version": 3,
    }
    assert "require" not in judge(policy(grant("allow")), "notes.read", path("/a")).document()
    assert "require" not in Decision("allow", "granted").document()


def test_the_digest_changes_with_verdict_grants_and_demands_and_not_with_the_version() -> None:
    def digest(*grants: Grant, version: int = 3) -> str:
        judged = policy(*grants)
        judged.version = version
        return judge(judged, "notes.read", path("/a")).digest

    ask = grant("ask", id="x")
    assert digest(ask) == digest(ask, version=4) == digest(ask, grant("allow", "web.fetch"))
    others = [grant("ask", id="y"), grant("allow", id="x"), grant("ask", id="x", require={"approvals": 2})]
    others.append(grant("ask", id="x", require={"approvals": 1, "by": ["role:a"]}))
    assert len({digest(ask), *map(digest, others)}) == 5
    assert digest(ask, grant("ask", id="y")) == digest(grant("ask", id="y"), ask)


# ---- below which folder


def test_a_path_is_opened_below_the_deepest_granted_folder() -> None:
    where = ["/srv/**", "/srv/app/*/logs/**", "/home/a.txt", "/home/*.md"]
    roots = policy(grant("allow", where={"paths": where}), grant("deny", where={"paths": ["/srv/app/x/**"]}))
    names = ["/srv/x", "/srv/app/x/logs/y", "/home/a.txt", "/home/b.md", "/etc/x"]
    found = [roots.root_of(person(), operation("notes.read"), name) for name in names]
    assert found == ["/srv", "/srv/app", "/home", "/home", "/"]


def test_the_narrowest_hop_says_where_a_path_is_opened() -> None:
    chain = agent("bot", on_behalf_of=person("ann"))
    roots = policy(
        grant("allow", subject="agent:bot", where=SRV),
        grant("allow", subject="user:ann", where={"paths": ["/srv/a/**"]}),
    )
    assert roots.root_of(chain, operation("notes.read"), "/srv/a/b") == "/srv/a"
    assert policy(grant("allow")).root_of(person(), operation("notes.read"), "/srv/a") == "/"
