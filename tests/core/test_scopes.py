"""Scopes: what a token may do at most, and that they only ever narrow."""

from __future__ import annotations

import pytest

from superagent.core.principal import Principal
from superagent.core.resources import Effect
from superagent.core.scopes import MOST, bounds_of, lacking, scopes_of, within
from tests.core.judging import grant, path, policy, verdict
from tests.core.operations import operation, person


def app(*scopes: str) -> Principal:
    above = person()
    return Principal("app", "agent", above.tenant, on_behalf_of=above).within(bounds_of(scopes))


def test_a_list_of_scopes_is_read_once_each() -> None:
    assert scopes_of("files.* files.read:read  files.* *:change offline_access") == (
        "files.*", "files.read:read", "*:change", "offline_access",
    )  # fmt: skip
    assert scopes_of("") == ()


@pytest.mark.parametrize(
    "wrong", ["Files.*", "files*", "*.read", "files.*:write", "files.:read", "a b:c", '"', "ä", "."]
)
def test_what_is_no_scope_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        scopes_of(wrong)


def test_there_is_a_most_of_scopes() -> None:
    with pytest.raises(ValueError, match="more than"):
        scopes_of(" ".join(f"a.b{n}" for n in range(MOST + 1)))


@pytest.mark.parametrize(
    ("narrow", "wide", "fits"),
    [
        ("files.read", "files.*", True),
        ("files.*", "*", True),
        ("files.*:read", "files.*", True),
        ("files.*", "files.*:read", False),
        ("files.*:change", "files.*:read", False),
        ("*", "files.*", False),
        ("files.*", "files.read", False),
        ("files.read shell.run", "files.*", False),
        ("offline_access", "files.*", True),
        ("files.read", "offline_access", False),
        ("", "", True),
    ],
)
def test_scopes_lie_within_others_or_not(narrow: str, wide: str, fits: bool) -> None:
    assert within(narrow.split(), wide.split()) is fits


def test_a_token_can_do_what_its_scopes_name_and_nothing_else() -> None:
    all_of_it = policy(grant("allow"))
    assert verdict(all_of_it, "notes.read", path("/a"), who=app("notes.*")) == "allow"
    assert verdict(all_of_it, "notes.read", path("/a"), who=app("files.*")) == "deny"
    assert verdict(all_of_it, "notes.read", path("/a"), who=app()) == "deny"


def test_a_scope_to_read_leaves_changes_out() -> None:
    all_of_it = policy(grant("allow"))
    assert verdict(all_of_it, "notes.write", path("/a", Effect.CHANGE), who=app("notes.*:change")) == "allow"
    assert verdict(all_of_it, "notes.write", path("/a", Effect.CHANGE), who=app("notes.*:read")) == "deny"


def test_a_scope_gives_nothing_that_no_grant_gives() -> None:
    assert verdict(policy(), "notes.read", path("/a"), who=app("*")) == "deny"
    only_read = policy(grant("allow", effects=["READ"]))
    assert verdict(only_read, "notes.write", path("/a", Effect.CHANGE), who=app("*")) == "deny"


def test_the_person_behind_a_token_caps_it() -> None:
    for_app = policy(grant("allow", subject="agent:app"))
    assert verdict(for_app, "notes.read", path("/a"), who=app("*")) == "deny"


def test_scopes_lift_no_forbid() -> None:
    forbids = policy(grant("allow"), grant("deny", effects=["CHANGE"]))
    assert verdict(forbids, "notes.write", path("/a", Effect.CHANGE), who=app("*")) == "deny"
    assert verdict(forbids, "notes.read", path("/a"), who=app("*:read")) == "allow"


def test_two_tokens_of_one_client_are_judged_apart() -> None:
    all_of_it = policy(grant("allow"))
    assert verdict(all_of_it, "notes.read", path("/a"), who=app("*")) == "allow"
    assert verdict(all_of_it, "notes.read", path("/a"), who=app("files.*")) == "deny"


def test_the_scope_that_alone_is_missing_is_named_and_nothing_that_its_person_may_not_see() -> None:
    read, write = operation("notes.read"), operation("notes.write")
    here = policy(grant("allow"))
    assert lacking(app("notes.*"), read, here) == ""
    assert lacking(app("files.*"), read, here) == "notes.read:read"
    assert lacking(app("notes.*:read"), write, here) == "notes.write:change"
    assert lacking(app("files.*"), read, policy(grant("allow", subject="agent:app"))) == ""
    assert lacking(person(), read, policy()) == ""
