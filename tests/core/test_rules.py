"""Rules: which calls a grant speaks of."""

from __future__ import annotations

import pytest

from superagent.core.resources import Effect, Resource, Risk
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, path, policy, reads, verdict

SRV = {"paths": ["/srv/**"]}
FACTS = Facts("human", Risk.LOW, NOON_MONDAY)


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


@pytest.mark.parametrize(
    ("days", "day"), [(0, "mon"), (1, "tue"), (5, "sat"), (6, "sun"), (7 * 1000, "mon"), (-4 - 1, "wed")]
)
def test_days_are_those_of_the_calendar(days: int, day: str) -> None:
    now = NOON_MONDAY + days * 86_400
    for name in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"):
        expected = "allow" if name == day else "deny"
        assert reads(policy(grant("allow", when={"hours": f"{name} 12:00-12:01"})), "/a", now=now) == expected


def test_hosts_are_selected_by_name_and_port() -> None:
    out = policy(grant("allow", where={"hosts": ["*.example.org:443"]}))
    asked = {
        name: Resource("host", "-", name, Effect.CHANGE)
        for name in ("api.example.org:443", "api.example.org:80", "example.org:443")
    }
    assert [verdict(out, "web.fetch", one) for one in asked.values()] == ["allow", "deny", "deny"]


def test_an_ipv6_host_is_found_by_its_address() -> None:
    out = policy(grant("allow", where={"hosts": ["[2001:db8::1]", "192.0.2.1:80"]}))
    asked = ("[2001:db8::1]:443", "[2001:db8::2]:443", "192.0.2.1:80", "192.0.2.10:80")
    verdicts = [verdict(out, "web.fetch", Resource("host", "-", one, Effect.CHANGE)) for one in asked]
    assert verdicts == ["allow", "deny", "allow", "deny"]


def test_connections_are_selected_by_the_connection_and_not_by_what_lies_behind() -> None:
    orders = policy(grant("allow", where={"connections": ["orders-*"]}))
    assert verdict(orders, "db.report", Resource("sql", "orders-db", "public.x")) == "allow"
    assert verdict(orders, "db.report", Resource("sql", "users-db", "orders-x")) == "deny"
    assert verdict(orders, "db.report", Resource("connection", "-", "orders-db")) == "allow"
    # a thing that belongs to no connection is covered by no name of one
    assert verdict(orders, "db.report", Resource("secret", "-", "orders-key")) == "deny"


def test_a_secret_is_named_as_one_and_by_nothing_else() -> None:
    key, like = Resource("secret", "-", "orders-key"), Resource("connection", "-", "orders-key")
    for names, secret, connection in (
        (["*"], "deny", "allow"),
        (["orders-*"], "deny", "allow"),
        (["secret:*"], "allow", "deny"),
        (["secret:orders-*"], "allow", "deny"),
        (["secret:orders-key"], "allow", "deny"),
        (["secret:users-*", "secret:orders"], "deny", "deny"),
        (["secret:orders-key", "orders-key"], "allow", "allow"),
    ):
        out = policy(grant("allow", where={"connections": names}))
        assert (verdict(out, "db.report", key), verdict(out, "db.report", like)) == (secret, connection), names
    closed = policy(grant("allow", id="any"), grant("deny", where={"connections": ["secret:orders-*"]}))
    assert (verdict(closed, "db.report", key), verdict(closed, "db.report", like)) == ("deny", "allow")


# ---- arguments


def write(where: dict[str, object], effect: str = "allow", **args: object) -> str:
    judged = policy(grant(effect, where={"args": where}), *([grant("allow", id="any")] if effect == "deny" else []))
    return verdict(judged, "notes.write", path("/a", Effect.CHANGE), args=args)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("text", "text"), ("t*", "text"), ("*", ""), ("a*", "a\nb"), (5, 5), (5, 5.0), (2.5, 2.5), (True, True),
        (None, None), (["x", 3], "x"), (["x", 3], 3),
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


def test_one_of_several_networks_is_enough() -> None:
    two = {"cidr": ["192.0.2.0/24", "10.0.0.0/8"]}
    assert reads(policy(grant("allow", when=two)), "/a", remote="10.0.0.1") == "allow"
    assert reads(policy(grant("allow"), grant("deny", when=two)), "/a", remote="10.0.0.1") == "deny"


@pytest.mark.parametrize("remote", ["", "unix", "10.0.0.1:80", "localhost", "0x0a.1"])
def test_an_unknown_address_makes_no_allow_count_and_every_deny_strike(remote: str) -> None:
    assert reads(policy(grant("allow", when={"cidr": ["0.0.0.0/0", "::/0"]})), "/a", remote=remote) == "deny"
    assert reads(policy(grant("allow"), grant("deny", when={"cidr": ["192.0.2.0/24"]})), "/a", remote=remote) == "deny"
