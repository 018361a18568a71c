"""Policy: what is not even shown."""

from __future__ import annotations

from typing import Any

import pytest

from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Protected, Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, path, policy
from tests.core.operations import OPERATIONS, agent, operation, person

SRV = {"paths": ["/srv/**"]}
FACTS = Facts("human", Risk.LOW, NOON_MONDAY)


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
        {"where": {"connections": ["secret:*"]}},
        {"where": {"paths": ["{workspace}/**"]}},
    ],
)
def test_a_grant_that_fits_no_call_of_an_operation_does_not_show_it(never: dict[str, Any]) -> None:
    assert not visible(grant("allow", **never))


def test_a_hook_that_names_more_may_name_anything() -> None:
    assert visible(grant("allow", where=SRV, effects=["DESTROY"]), name="db.report")


def test_secrets_do_not_show_an_operation_on_a_connection() -> None:
    assert not visible(grant("allow", where={"connections": ["secret:orders-db"]}), name="db.run")
    assert visible(grant("allow", where={"connections": ["secret:orders-db"]}), name="db.report")


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
def test_only_a_deny_of_every_call_hides_an_operation(deny: dict[str, Any], hidden: bool) -> None:
    assert visible(grant("allow"), grant("deny", **deny)) is not hidden


def test_a_deny_of_one_of_two_effects_does_not_hide_an_operation() -> None:
    assert visible(grant("allow"), grant("deny", effects=["READ"]), name="notes.copy")
    assert not visible(grant("allow"), grant("deny", effects=["READ", "CHANGE"]), name="notes.copy")


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
