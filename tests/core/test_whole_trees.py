"""What sees a whole folder is judged for all that could lie in it: a command is no way around a deny."""

from __future__ import annotations

import pytest

from superagent.core.policy import Policy
from superagent.core.resources import Protected
from superagent.core.rules import Facts
from tests.core.judging import NOON_MONDAY, grant, path, policy
from tests.core.operations import operation, person

ALL = grant("allow")
HERE = grant("allow", where={"paths": ["/w/me/**"]})


def facts(**more: object) -> Facts:
    given: dict[str, object] = {"origin": "human", "risk": operation("notes.read").risk, "now": NOON_MONDAY} | more
    return Facts(**given)  # pyright: ignore[reportArgumentType]


def permits(judged: Policy, folder: str, **more: object) -> bool:
    return judged.permits_beneath(person(), operation("notes.read"), path(folder), facts(**more))


def denies(judged: Policy, folder: str, **more: object) -> bool:
    return judged.denies_beneath(person(), operation("notes.read"), path(folder), facts(**more))


@pytest.mark.parametrize("folder", ["/w/me", "/w/me/deep/er"])
def test_a_grant_for_a_tree_permits_each_folder_in_it(folder: str) -> None:
    assert permits(policy(HERE), folder)
    assert permits(policy(ALL), folder)


@pytest.mark.parametrize("pattern", ["/w/me/*", "/w/me", "/w/me/**/x", "/w/me/sub/**", "/other/**"])
def test_a_grant_for_some_of_it_permits_no_whole_folder(pattern: str) -> None:
    assert not permits(policy(grant("allow", where={"paths": [pattern]})), "/w/me")


def test_an_ask_permits_a_folder_only_once_it_was_approved() -> None:
    asking = policy(grant("ask", where={"paths": ["/w/me/**"]}))

    assert not permits(asking, "/w/me")
    assert permits(asking, "/w/me", approvals=1)


@pytest.mark.parametrize(
    "pattern", ["/w/me/secret", "/w/me/secret/**", "/w/me/**/.env", "/w/**", "/**/.ssh/**", "/w/me/*", "/w/*/secret"]
)
def test_a_deny_of_anything_that_could_lie_in_it_denies_the_folder(pattern: str) -> None:
    assert denies(policy(ALL, grant("deny", where={"paths": [pattern]})), "/w/me")


@pytest.mark.parametrize("pattern", ["/w/other/**", "/w/mean", "/etc/**", "/w/me2/**"])
def test_a_deny_elsewhere_does_not(pattern: str) -> None:
    assert not denies(policy(ALL, grant("deny", where={"paths": [pattern]})), "/w/me")


def test_a_deny_without_paths_denies_every_folder_and_one_of_another_operation_none() -> None:
    assert denies(policy(ALL, grant("deny")), "/w/me")
    assert not denies(policy(ALL, grant("deny", "files.*")), "/w/me")


def test_a_deny_that_looks_at_other_things_counts_only_when_they_are_so() -> None:
    by_agents = grant("deny", where={"paths": ["/w/me/x"]}, origin=["agent"])

    assert not denies(policy(ALL, by_agents), "/w/me")
    assert denies(policy(ALL, by_agents), "/w/me", origin="agent")


def test_a_folder_that_holds_the_platforms_own_places_is_denied() -> None:
    closed = Protected(("/home/me/data",), "/home/me/data/workspaces")

    assert denies(policy(ALL, protected=closed), "/home/me")
    assert denies(policy(ALL, protected=closed), "/")
    assert not denies(policy(ALL, protected=closed), "/home/me/project")


def test_each_hop_of_a_chain_must_permit_and_none_may_deny() -> None:
    of_ann = grant("allow", subject="user:ann", where={"paths": ["/w/**"]})
    judged = policy(of_ann, grant("allow", subject="agent:bot"))
    strict = policy(
        of_ann, grant("allow", subject="agent:bot"), grant("deny", subject="user:ann", where={"paths": ["/w/x"]})
    )
    bot, asked = person().delegate("bot", "agent"), operation("notes.read")

    assert judged.permits_beneath(bot, asked, path("/w"), facts())
    assert not judged.permits_beneath(bot, asked, path("/elsewhere"), facts())
    assert not judged.denies_beneath(bot, asked, path("/w"), facts())
    assert strict.denies_beneath(bot, asked, path("/w"), facts())
