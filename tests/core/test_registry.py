"""The registry: names that cannot be confused, and searching among what one may see."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from superagent.core.operation import Operation
from superagent.core.problems import NotFound
from superagent.core.registry import RESERVED_DOMAINS, Registry
from tests.core.judging import grant, policy
from tests.core.operations import OPERATIONS, agent, operation, person


def named(name: str) -> Operation:
    return replace(operation("self.whoami"), name=name)


@pytest.fixture
def registry() -> Registry:
    return Registry(OPERATIONS.values(), version=5)


def test_operations_are_found_by_name(registry: Registry) -> None:
    assert registry.get("notes.read") is operation("notes.read")
    assert (len(registry), registry.version, {one.name for one in registry}) == (len(OPERATIONS), 5, set(OPERATIONS))


def test_a_name_can_be_looked_up_without_complaint(registry: Registry) -> None:
    assert registry.find("notes.read") is operation("notes.read")
    assert registry.find("notes.raed") is None


def test_every_operation_can_be_made_ready_before_the_first_call(registry: Registry) -> None:
    registry.prepare()
    assert all("model" in vars(one.shape) for one in registry)


def test_an_unknown_name_is_not_found_and_not_repeated_at_length(registry: Registry) -> None:
    with pytest.raises(NotFound, match=r"there is no operation `x") as missing:
        registry.get("x" * 10_000)
    assert len(missing.value.detail) < 300
    assert missing.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "read",
        "Notes.read",
        "notes.Read",
        "notes..read",
        "notes.read.",
        ".read",
        "notes.read\n",
        "a.b.c.d.e",
        "1a.b",
        "a_b.c",
        "a.1b",
        "a b.c",
    ],
)
def test_a_name_that_is_no_operations_name_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="cannot be an operation's name"):
        Registry([named(name)])


@pytest.mark.parametrize("domain", sorted(RESERVED_DOMAINS))
def test_the_command_lines_own_words_are_no_domains(domain: str) -> None:
    with pytest.raises(TypeError, match="cannot be an operation's name"):
        Registry([named(f"{domain}.now")])


@pytest.mark.parametrize("other", ["notes.read.all", "notes.read_all"])
def test_two_operations_never_have_one_name_for_models(other: str) -> None:
    with pytest.raises(TypeError, match="would have one name for models"):
        Registry([named("notes.read_all"), named(other)])


def test_one_sees_what_one_could_be_allowed_or_asked_to_do(registry: Registry) -> None:
    judged = policy(grant("allow", "notes.*", "role:viewer", effects=["READ"]), grant("ask", "web.*", "role:viewer"))
    assert [one.name for one in registry.visible_to(person("ann", "viewer"), judged)] == [
        "notes.copy",
        "notes.read",
        "web.fetch",
    ]
    assert registry.visible_to(agent("bot", on_behalf_of=person("ann", "viewer")), judged) == []


def test_a_mistyped_name_is_answered_with_close_ones_among_the_visible(registry: Registry) -> None:
    read, fetch = operation("notes.read"), operation("web.fetch")
    for typed in ("notes.raed", "notes_raed", "Notes.Read"):
        assert registry.close_to(typed, [read, fetch]) == [read]
    assert registry.close_to("notes.raed", [fetch]) == []
    assert registry.close_to("notes.read" * 1000, [read]) == []


def test_a_name_that_is_mistyped_again_and_again_is_compared_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    match = difflib.get_close_matches

    def counted(typed: str, names: Sequence[str], n: int, cutoff: float) -> list[str]:
        compared.append(typed)
        return match(typed, names, n, cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    read, fetch = operation("notes.read"), operation("web.fetch")
    for _ in range(100):
        assert registry.close_to("notes.reaad", [read, fetch]) == [read]
    assert compared == ["notes.reaad"]
    assert registry.close_to("notes.reaad", [fetch]) == []  # of others only what they may see


def test_searching_weighs_names_above_summaries_and_rare_words_above_common_ones(registry: Registry) -> None:
    found = [one.name for one in registry.search("read a note", registry)]
    assert found[0] == "notes.read"
    assert registry.search("connection", registry)[0].name == "db.run"
    assert [one.name for one in registry.search("servers", registry)] == ["web.fetch"]


def test_searching_without_words_lists_and_with_strange_ones_finds_nothing(registry: Registry) -> None:
    every = list(registry)
    assert registry.search("", every, limit=3) == every[:3]
    assert registry.search("?!", every, limit=2) == every[:2]
    assert registry.search("zebra", every) == []
    assert len(registry.search("note", every, limit=2)) == 2


def test_searching_knows_endings_but_leaves_short_words_alone(registry: Registry) -> None:
    assert registry.search("fetches fetching", registry)[0].name == "web.fetch"
    # `as` and `es` have too little left to be cut
    assert registry.search("es", registry) == []
