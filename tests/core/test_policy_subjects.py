"""Policy: whose grants count, and what none of them reaches."""

from __future__ import annotations

from superagent.core.principal import ANONYMOUS
from superagent.core.resources import Effect, Protected, Resource, Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, judge, path, policy, reads, verdict
from tests.core.operations import agent, person

SRV = {"paths": ["/srv/**"]}
FACTS = Facts("human", Risk.LOW, NOON_MONDAY)


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
