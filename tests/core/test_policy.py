"""Policy: the verdict on a call, and why."""

from __future__ import annotations

import pytest

from superagent.core.grants import Grant
from superagent.core.policy import REASONS, Decision
from superagent.core.principal import ANONYMOUS, Principal
from superagent.core.resources import Effect, Protected, Resource, Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, judge, path, policy, reads, verdict
from tests.core.operations import OPERATIONS, agent, operation, person

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


# ---- what a grant speaks of


def test_effects_select_what_happens_to_the_resource() -> None:
    reading = policy(grant("allow", effects=["READ"]))
    assert reads(reading, "/a") == "allow"
    assert verdict(reading, "notes.write", path("/a", Effect.CHANGE)) == "deny"


def test_each_resource_must_be_allowed_with_its_own_effect() -> None:
    halves = policy(grant("allow", effects=["READ"]), grant("allow", effects=["CHANGE"], where=SRV))
    assert verdict(halves, "notes.copy", path("/home/a"), path("/srv/a", Effect.CHANGE)) == "allow"
    assert verdict(halves, "notes.copy", path("/srv/a"), path("/home/a", Effect.CHANGE)) == "deny"


def test_what_changes_something_unnamed_counts_as_changing_what_it_names() -> None:
    orders = Resource("connection", "-", "orders-db", Effect.READ)
    assert verdict(policy(grant("allow", effects=["READ"])), "db.run", orders) == "deny"
    assert verdict(policy(grant("allow", effects=["CHANGE"])), "db.run", orders) == "allow"


def test_a_call_that_names_nothing_is_judged_by_its_operations_effect() -> None:
    assert verdict(policy(grant("allow", effects=["READ"])), "self.rename") == "deny"
    assert verdict(policy(grant("allow", effects=["CHANGE"])), "self.rename") == "allow"


def test_a_grant_that_names_resources_says_nothing_of_a_call_without_one() -> None:
    assert verdict(policy(grant("allow", where=SRV)), "self.whoami") == "deny"
    assert verdict(policy(grant("allow"), grant("deny", where=SRV)), "self.whoami") == "allow"


def test_a_grant_that_names_paths_covers_no_other_kind() -> None:
    paths = policy(grant("allow", where={"paths": ["/**"]}))
    assert verdict(paths, "web.fetch", Resource("host", "-", "example.org:443", Effect.CHANGE)) == "deny"
    assert verdict(paths, "db.run", Resource("connection", "-", "orders-db", Effect.READ)) == "deny"


def test_undoable_selects_and_reading_counts_as_undoable() -> None:
    careful = policy(grant("allow"), grant("deny", undoable=False))
    gone, kept = path("/a", Effect.DESTROY), path("/a", Effect.CHANGE)
    assert verdict(careful, "notes.drop", gone) == "deny"
    assert verdict(careful, "notes.bin", gone) == "allow"
    assert verdict(careful, "notes.write", kept) == "allow"
    assert reads(careful, "/a") == "allow"
    assert verdict(policy(grant("allow", undoable=True)), "notes.drop", gone) == "deny"
    assert reads(policy(grant("allow", undoable=True)), "/a") == "allow"


def test_origin_selects_who_set_it_off() -> None:
    people = policy(grant("allow", origin=["human"]))
    assert [reads(people, "/a", origin=one) for one in ("human", "agent", "workflow")] == ["allow", "deny", "deny"]


def test_operations_are_selected_by_name_or_by_its_beginning() -> None:
    assert reads(policy(grant("allow", "notes.read")), "/a") == "allow"
    assert reads(policy(grant("allow", "notes.*")), "/a") == "allow"
    assert reads(policy(grant("allow", "notes.write")), "/a") == "deny"
    assert verdict(policy(grant("allow", "sel.*")), "self.whoami") == "deny"


def test_hours_select_by_utc_time() -> None:
    office = policy(grant("allow", when={"hours": "mon-fri 08:00-12:01"}))
    assert reads(office, "/a") == "allow"
    assert reads(office, "/a", now=NOON_MONDAY + 59.9) == "allow"
    assert reads(office, "/a", now=NOON_MONDAY + 60) == "deny"
    assert reads(office, "/a", now=NOON_MONDAY - 2 * 86_400) == "deny"


def test_hosts_are_selected_by_name_and_port() -> None:
    out = policy(grant("allow", where={"hosts": ["*.example.org:443"]}))
    asked = {
        name: Resource("host", "-", name, Effect.CHANGE)
        for name in ("api.example.org:443", "api.example.org:80", "example.org:443")
    }
    assert [verdict(out, "web.fetch", one) for one in asked.values()] == ["allow", "deny", "deny"]


def test_connections_are_selected_by_the_connection_and_not_by_what_lies_behind() -> None:
    orders = policy(grant("allow", where={"connections": ["orders-*"]}))
    assert verdict(orders, "db.report", Resource("sql", "orders-db", "public.x")) == "allow"
    assert verdict(orders, "db.report", Resource("sql", "users-db", "orders-x")) == "deny"
    assert verdict(orders, "db.report", Resource("connection", "-", "orders-db")) == "allow"
    # a thing that belongs to no connection is covered by no name of one
    assert verdict(orders, "db.report", Resource("secret", "-", "orders-key")) == "deny"


# ---- arguments


def write(where: dict[str, object], effect: str = "allow", **args: object) -> str:
    judged = policy(grant(effect, where={"args": where}), *([grant("allow", id="any")] if effect == "deny" else []))
    return verdict(judged, "notes.write", path("/a", Effect.CHANGE), args=args)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("text", "text"), ("t*", "text"), ("*", ""), ("a*", "a\nb"), (5, 5), (5, 5.0), (2.5, 2.5), (True, True), (None, None),
        (["x", 3], "x"), (["x", 3], 3),
    ],
)  # fmt: skip
def test_an_argument_fits(wanted: object, given: object) -> None:
    assert write({"mode": wanted}, mode=given) == "allow"
    assert write({"mode": wanted}, "deny", mode=given) == "deny"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("text", "Text"),
        ("5", 5),
        (5, "5"),
        (1, True),
        (True, 1),
        (0, False),
        (0, None),
        ("", None),
        (None, ""),
        (["x", 3], 4),
        (2, 2.5),
    ],
)
def test_an_argument_does_not_fit(wanted: object, given: object) -> None:
    assert write({"mode": wanted}, mode=given) == "deny"
    assert write({"mode": wanted}, "deny", mode=given) == "allow"


@pytest.mark.parametrize("given", [["text"], [], {"a": 1}, ("text",), object(), b"text"])
def test_an_argument_that_cannot_be_compared_counts_against_the_caller(given: object) -> None:
    assert write({"mode": "text"}, mode=given) == "deny"
    assert write({"mode": "text"}, "deny", mode=given) == "deny"


def test_an_operation_without_the_argument_is_not_spoken_of() -> None:
    assert write({"mode": None}) == "deny"
    assert write({"mode": None}, "deny") == "allow"


def test_an_argument_is_named_as_in_the_input_where_python_needs_an_underscore() -> None:
    assert write({"from": "here"}, "deny", from_="here") == "deny"


def test_every_named_argument_must_fit() -> None:
    assert write({"mode": "text", "force": False}, mode="text", force=False) == "allow"
    assert write({"mode": "text", "force": False}, mode="text", force=True) == "deny"


# ---- networks


@pytest.mark.parametrize(
    ("cidr", "remote", "inside"),
    [
        ("10.0.0.0/8", "10.200.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("::/0", "10.0.0.1", False),
    ],
)
def test_a_network_selects_the_callers_address(cidr: str, remote: str, inside: bool) -> None:
    assert reads(policy(grant("allow", when={"cidr": [cidr]})), "/a", remote=remote) == ("allow" if inside else "deny")
    guarded = policy(grant("allow"), grant("deny", when={"cidr": [cidr]}))
    assert reads(guarded, "/a", remote=remote) == ("deny" if inside else "allow")


@pytest.mark.parametrize("remote", ["", "unix", "10.0.0.1:80", "localhost", "0x0a.1"])
def test_an_unknown_address_makes_no_allow_count_and_every_deny_strike(remote: str) -> None:
    assert reads(policy(grant("allow", when={"cidr": ["0.0.0.0/0", "::/0"]})), "/a", remote=remote) == "deny"
    assert reads(policy(grant("allow"), grant("deny", when={"cidr": ["192.0.2.0/24"]})), "/a", remote=remote) == "deny"


# ---- whose grants


def test_each_hop_of_the_chain_must_be_allowed() -> None:
    ann, both = person("ann"), policy(grant("allow", subject="user:ann"), grant("allow", subject="agent:bot"))
    assert reads(both, "/a", agent("bot", on_behalf_of=ann)) == "allow"
    assert reads(both, "/a", agent("bot", on_behalf_of=person("ben"))) == "deny"
    assert reads(both, "/a", agent("bot2", on_behalf_of=ann)) == "deny"
    assert reads(both, "/a", agent("bot", on_behalf_of=agent("bot2", on_behalf_of=ann))) == "deny"


def test_the_strictest_hop_wins() -> None:
    chain = agent("bot", on_behalf_of=person("ann"))
    asks = policy(grant("allow", subject="agent:bot"), grant("ask", subject="user:ann", require={"approvals": 3}))
    mixed = policy(grant("ask", subject="agent:bot"), grant("allow", subject="user:ann", when={"mfa_max_age_s": 60}))
    assert judge(asks, "notes.read", path("/a"), who=chain).approvals == 3
    assert reads(mixed, "/a", chain) == "step_up"
    assert reads(mixed, "/a", chain, second_factor_age_s=0.0) == "ask"


def test_grants_reach_roles_groups_keys_and_everybody() -> None:
    who = person("ann", "owner", groups=("ops",), key="k1")
    for subject in ("*", "role:owner", "group:ops", "key:k1", "user:ann"):
        assert reads(policy(grant("allow", subject=subject)), "/a", who) == "allow"
    for subject in ("role:ops", "group:owner", "agent:ann", "user:k1", ""):
        assert reads(policy(grant("allow", subject=subject)), "/a", who) == "deny"


def test_a_stranger_is_not_everybody() -> None:
    assert reads(policy(grant("allow", subject="*")), "/a", ANONYMOUS) == "deny"
    assert reads(policy(grant("allow", subject="anonymous:anonymous")), "/a", ANONYMOUS) == "allow"


def test_workspaces_of_like_agents_stay_apart() -> None:
    own = policy(grant("allow", where={"paths": ["{workspace}/**"]}))
    one, two = agent("bot", workspace="/ws/one"), agent("bot", workspace="/ws/two")
    assert [reads(own, "/ws/one/x", who) for who in (one, two, one, agent("bot"))] == ["allow", "deny", "allow", "deny"]


def test_a_star_in_a_workspaces_name_is_a_star() -> None:
    own = policy(grant("allow", where={"paths": ["{workspace}/**", "{roots}/*"]}), roots=("/srv/*",))
    star = agent("*", workspace="/ws/*")
    assert reads(own, "/ws/*/x", star) == reads(own, "/srv/*/x", star) == "allow"
    assert reads(own, "/ws/other/x", star) == reads(own, "/srv/other/x", star) == "deny"


def test_a_placeholder_that_stands_for_nothing_covers_nothing() -> None:
    nowhere = policy(grant("allow", where={"paths": ["{workspace}/**", "{roots}/**"]}))
    assert reads(nowhere, "/", agent()) == reads(nowhere, "/x", agent()) == verdict(nowhere, "self.whoami") == "deny"
    # the same words in a deny forbid nothing: there is no workspace in which something could be forbidden
    assert (
        reads(policy(grant("allow"), grant("deny", where={"paths": ["{workspace}/.git/**"]})), "/x/.git", agent())
        == "allow"
    )


def test_the_workspace_itself_can_be_named() -> None:
    own = policy(grant("allow", where={"paths": ["{workspace}"]}))
    assert reads(own, "/ws/a", agent(workspace="/ws/a")) == "allow"
    assert reads(own, "/ws/a/b", agent(workspace="/ws/a")) == "deny"


# ---- instance and tenant


def test_a_grant_of_a_tenant_never_reaches_the_installations_operations() -> None:
    assert verdict(policy(grant("allow")), "platform.set") == "deny"
    assert verdict(policy(grant("allow").of_instance()), "platform.set") == "allow"
    assert verdict(policy(grant("allow").of_instance()), "self.whoami") == "deny"


def test_in_the_tenant_of_the_system_grants_reach_both() -> None:
    system = policy(grant("allow"), grant("allow", id="more").of_instance(), instance=True)
    assert verdict(system, "platform.set") == verdict(system, "self.whoami") == "allow"
    assert verdict(policy(grant("allow").of_instance(), instance=True), "self.whoami") == "deny"


# ---- protected places


def test_no_grant_reaches_a_protected_place() -> None:
    closed = policy(grant("allow"), protected=Protected(("/data", "/link"), "/data/workspaces"))
    for name in ("/data", "/data/state/owner.key", "/link/workspaces/t/a", "/data/workspaces", "/data/workspaces/t"):
        assert judge(closed, "notes.read", path(name)).grants == ()
        assert reads(closed, name) == "deny"
    assert reads(closed, "/data/workspaces/t/a") == reads(closed, "/database") == "allow"


def test_one_protected_resource_among_others_refuses_the_call() -> None:
    closed = policy(grant("allow"), protected=Protected(("/data",)))
    assert verdict(closed, "notes.copy", path("/srv/a"), path("/data/b", Effect.CHANGE)) == "deny"
    # a host or connection of that name is no path
    assert verdict(closed, "db.report", Resource("connection", "-", "/data")) == "allow"


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
    assert by(asks(1, "role:a"), asks(1, "role:a", "role:b", effect="deny")) == (1, ("role:a", "role:a and role:b"))
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
        "verdict": "ask", "reason": "a person must approve this", "grants": ["ask"], "require": {"approvals": 2, "by": ["role:a"]},
        "policy_version": 3,
    }  # fmt: skip
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


# ---- visible or not


def visible(*grants: Grant, name: str = "notes.write", who: Principal | None = None) -> bool:
    return policy(*grants).may_try(who or person(), operation(name))


def test_an_operation_is_visible_when_some_call_of_it_could_be_allowed_or_asked_for() -> None:
    assert visible(grant("allow", where=SRV))
    assert visible(grant("ask"))
    assert visible(grant("allow", when={"hours": "08:00-09:00"}))
    assert not visible()
    assert not visible(grant("allow", "notes.read"))


@pytest.mark.parametrize(
    "never",
    [
        {"effects": ["READ", "DESTROY"]},
        {"undoable": False},
        {"max_risk": "LOW"},
        {"where": {"hosts": ["*"]}},
        {"where": {"connections": ["*"]}},
        {"where": {"paths": ["{workspace}/**"]}},
    ],
)
def test_a_grant_that_fits_no_call_of_an_operation_does_not_show_it(never: dict[str, object]) -> None:
    assert not visible(grant("allow", **never))


def test_a_hook_that_names_more_may_name_anything() -> None:
    assert visible(grant("allow", where=SRV, effects=["DESTROY"]), name="db.report")


def test_connections_show_an_operation_on_a_connection() -> None:
    assert visible(grant("allow", where={"connections": ["orders-db"]}), name="db.run")
    assert visible(grant("allow", effects=["READ"], where={"connections": ["orders-db"]}), name="db.run")


@pytest.mark.parametrize(
    ("deny", "hidden"),
    [
        ({}, True),
        ({"effects": ["CHANGE"]}, True),
        ({"undoable": True}, True),
        ({"effects": ["READ"]}, False),
        ({"undoable": False}, False),
        ({"where": SRV}, False),
        ({"where": {"args": {"mode": "x"}}}, False),
        ({"origin": ["agent"]}, False),
        ({"when": {"hours": "08:00-09:00"}}, False),
        ({"when": {"cidr": ["10.0.0.0/8"]}}, False),
        ({"require": {"approvals": 1}}, False),
        ({"max_risk": "LOW"}, False),
        ({"isolation": "vm"}, False),
        ({"when": {"mfa_max_age_s": 1}}, False),
    ],
)
def test_only_a_deny_of_every_call_hides_an_operation(deny: dict[str, object], hidden: bool) -> None:
    assert visible(grant("allow"), grant("deny", **deny)) is not hidden


def test_what_one_hop_may_not_try_is_invisible_to_all() -> None:
    chain = agent("bot", on_behalf_of=person("ann"))
    assert not visible(grant("allow", subject="agent:bot"), who=chain)
    assert visible(grant("allow", subject="agent:bot"), grant("ask", subject="user:ann"), who=chain)


def test_a_resource_is_seen_when_some_operation_may_use_it_or_ask() -> None:
    asks = policy(
        grant("ask", "notes.write", where=SRV),
        grant("allow", "notes.drop", max_risk="HIGH", where={"paths": ["/tmp/x"]}),
    )
    every = OPERATIONS.values()
    assert asks.sees(person(), every, path("/srv/a"), FACTS)
    assert asks.sees(person(), every, path("/tmp/x"), FACTS)
    assert not asks.sees(person(), every, path("/etc/a"), FACTS)
    assert not asks.sees(agent("b", on_behalf_of=ANONYMOUS_OF_DEFAULT), every, path("/srv/a"), FACTS)
    assert not policy(grant("allow"), protected=Protected(("/srv",))).sees(person(), every, path("/srv/a"), FACTS)


ANONYMOUS_OF_DEFAULT = Principal("anonymous", "anonymous", "default")


def test_seeing_is_judged_at_each_operations_own_risk() -> None:
    low = policy(grant("allow", "notes.read", max_risk="LOW"))
    assert low.sees(person(), OPERATIONS.values(), path("/a"), Facts("human", Risk.CRITICAL, NOON_MONDAY))


def test_lists_leave_out_what_would_have_to_be_asked_for() -> None:
    mixed = policy(grant("allow", where=SRV), grant("deny", where={"paths": ["/srv/secret/**"]}), grant("ask"))
    may = [
        mixed.may(person(), operation("notes.read"), path(name), FACTS) for name in ("/srv/a", "/srv/secret", "/etc/a")
    ]
    assert may == [True, False, False]
    assert not policy(grant("allow"), protected=Protected(("/srv",))).may(
        person(), operation("notes.read"), path("/srv/a"), FACTS
    )


def test_an_operation_may_be_asked_about_other_effects_than_its_own() -> None:
    reading = policy(grant("allow", effects=["READ"]))
    assert reading.may(person(), operation("notes.drop"), path("/a", Effect.READ), FACTS)
    assert not reading.may(person(), operation("notes.drop"), path("/a", Effect.DESTROY), FACTS)


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
