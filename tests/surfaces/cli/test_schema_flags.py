"""Flags are made from the schema of an operation, and give back the input that the schema asks for."""

from __future__ import annotations

import argparse
import shlex
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from superagent.core.secret_inputs import SecretText
from superagent.surfaces.cli.options import Parser, Usage
from superagent.surfaces.cli.schema_flags import Parameter, as_arguments, input_of, parser_of

NOW = 1_800_000_000.0


class Inner(BaseModel):
    size: int


class Wanted(BaseModel):
    path: str
    count: int
    ratio: float = 0.5
    recursive: bool = True
    mode: Literal["a", "b"] | None = None
    tags: list[str] = []
    numbers: list[int] | None = None
    inner: Inner | None = None
    inners: list[Inner] = []
    since: float | None = None
    expires_s: int | None = None
    value: Any = None
    wide: int | str = ""
    json_: Annotated[str, Field(alias="json", description="100 % as it is")] = ""
    key: str = ""


def described(model: type[BaseModel] = Wanted, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "test.it",
        "description": "Do 100 % of it",
        "effect": "READ",
        "risk": "LOW",
        "takes_back": "nothing",
        "why": "",
        "examples": [],
        "input_schema": model.model_json_schema(),
    }
    return plain | more


def read(*arguments: str, model: type[BaseModel] = Wanted, listed: str = "") -> dict[str, Any]:
    parser, wanted = parser_of(described(model), "test it", listed=listed)
    return input_of(parser.read(arguments, argparse.Namespace()), wanted, NOW, listed)


def test_required_values_stand_in_their_order_and_the_rest_behind_flags() -> None:
    assert read("a", "3") == {"path": "a", "count": 3}
    assert read("a", "3", "--ratio", "1", "--no-recursive", "--mode", "b", "--tags", "x", "--tags", "y") == {
        "path": "a",
        "count": 3,
        "ratio": 1,
        "recursive": False,
        "mode": "b",
        "tags": ["x", "y"],
    }


class Hiding(BaseModel):
    name: str
    value: SecretText
    other: SecretText | None = None


def test_secrets_are_asked_for_and_never_read_from_the_arguments() -> None:
    parser, wanted = parser_of(described(Hiding), "test it")
    asked: list[str] = []

    def read_hiding(*arguments: str) -> dict[str, Any]:
        def ask(name: str) -> str:
            asked.append(name)
            return f"the {name}"

        return input_of(parser.read(arguments, argparse.Namespace()), wanted, NOW, ask=ask)

    assert read_hiding("n") == {"name": "n", "value": "the value"}
    assert read_hiding("n", "--other", "-") == {"name": "n", "value": "the value", "other": "the other"}
    assert asked == ["value", "value", "other"]
    for typed in (("n", "v"), ("n", "--value", "v"), ("n", "--other=v"), ("--name", "n", "v", "w")):
        with pytest.raises(Usage, match="seen by every program") as refused:
            read_hiding(*typed)
        assert "`v`" not in refused.value.detail
    assert len(asked) == 3
    assert as_arguments({"name": "n", "value": "…"}, wanted) == "n"


class Typing(BaseModel):
    session: str
    input: str | None = None
    secret: SecretText | None = None


def test_what_can_be_left_out_may_still_need_no_flag_but_never_a_secret() -> None:
    def read_typing(bare: str, *arguments: str) -> dict[str, Any]:
        parser, wanted = parser_of(described(Typing), "test it", bare=bare)
        return input_of(parser.read(arguments, argparse.Namespace()), wanted, NOW, ask=lambda name: f"the {name}")

    assert read_typing("input", "s", "ls") == {"session": "s", "input": "ls"}
    assert read_typing("input", "s") == {"session": "s"}
    assert read_typing("input", "s", "--secret", "-") == {"session": "s", "secret": "the secret"}
    for bare, typed in (("input", ("s", "ls", "v")), ("secret", ("s", "v")), ("", ("s", "v"))):
        with pytest.raises(Usage, match="seen by every program"):
            read_typing(bare, *typed)
    parser, _ = parser_of(described(Typing), "test it", bare="input")
    assert parser.format_usage() == "usage: superagent test it SESSION [INPUT] [flags]\n"


def test_what_is_missing_is_asked_for_as_it_is_typed() -> None:
    with pytest.raises(Usage, match="`path` is missing") as missing:
        read()
    assert missing.value.hint == "give PATH or --path TEXT"


def test_flags_may_stand_between_values_and_name_what_could_stand_without() -> None:
    assert read("--recursive", "a", "--ratio", "2.5", "3") == {"recursive": True, "path": "a", "ratio": 2.5, "count": 3}
    assert read("--path", "a", "3") == {"path": "a", "count": 3}
    assert read("--path=-a", "--count=-3") == {"path": "-a", "count": -3}


def test_objects_and_whatever_may_be_anything_are_json() -> None:
    assert read(
        "a", "1", "--inner", '{"size": 2}', "--inners", '{"size": 3}', "--inners", '{"size": 4}', "--value", "[1]"
    ) == {
        "path": "a",
        "count": 1,
        "inner": {"size": 2},
        "inners": [{"size": 3}, {"size": 4}],
        "value": [1],
    }
    assert read("a", "1", "--value", "plain text", "--wide", "7", "--numbers", "5") == {
        "path": "a",
        "count": 1,
        "value": "plain text",
        "wide": 7,
        "numbers": [5],
    }


def test_times_and_durations_are_read_as_such() -> None:
    assert read("a", "1", "--since", "2h", "--expires-s", "30d") == {
        "path": "a",
        "count": 1,
        "since": NOW - 7200,
        "expires_s": 2_592_000,
    }


def test_a_parameter_whose_name_is_taken_gets_another_flag() -> None:
    assert read("a", "1", "--input-json", "x", "--key", "mine") == {"path": "a", "count": 1, "json": "x", "key": "mine"}
    parser, _ = parser_of(described(), "test it")
    given_ = parser.read(["a", "1", "--call-key", "once"], argparse.Namespace())
    assert given_.call_key == "once"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["a"], "`count` is missing"),
        (["a", "x"], "`x` is no N"),
        (["a", "1", "2"], "one value too many"),
        (["a", "1", "--ratio", "nan"], "`nan` is no X"),
        (["a", "1", "--ratio", "inf"], "`inf` is no X"),
        (["a", "1", "--mode", "c"], "none of a, b"),
        (["a", "1", "--inner", "{"], "`{` is no JSON"),
        (["a", "1", "--inner", '{"a": 1, "a": 2}'], "is no JSON"),
        (["a", "1", "--inner", "NaN"], "is no JSON"),
        (["a", "1", "--since", "soon"], "is no time"),
        (["a", "1", "--expires-s", "long"], "is no duration"),
        (["a", "1", "--nothing"], "--nothing"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: list[str], fault: str) -> None:
    with pytest.raises(Usage) as wrong:
        read(*arguments)
    assert fault in wrong.value.detail


def test_what_is_one_too_many_is_told_where_values_go() -> None:
    with pytest.raises(Usage) as wrong:
        read("a", "1", "2")
    assert wrong.value.hint.startswith("without a flag it takes PATH COUNT; put the flag (--")


class Words(BaseModel):
    argv: Annotated[list[str], Field(description="100 % of it")]
    cwd: str = ""


@pytest.mark.parametrize(
    ("arguments", "argv"),
    [
        (["ls", "a"], ["ls", "a"]),
        (["--cwd", "b", "--", "ls", "-la", "--cwd", "c", "--"], ["ls", "-la", "--cwd", "c", "--"]),
        (["--argv", "ls", "a"], ["ls", "a"]),
    ],
)
def test_a_list_that_alone_is_required_needs_no_flag_and_ends_all_flags(arguments: list[str], argv: list[str]) -> None:
    assert read(*arguments, model=Words)["argv"] == argv
    assert "usage: superagent test it ARGV … [flags]" in parser_of(described(Words), "test it")[0].format_help()


def test_an_example_of_such_a_list_is_shown_as_it_is_typed() -> None:
    _, wanted = parser_of(described(Words), "test it")
    assert as_arguments({"argv": ["ls", "-la", "a b"], "cwd": "c"}, wanted) == "--cwd c -- ls -la 'a b'"


def test_without_any_of_its_values_such_a_list_is_missing() -> None:
    with pytest.raises(Usage) as wrong:
        read(model=Words)
    assert (wrong.value.detail, wrong.value.hint) == ("`argv` is missing", "give ARGV or --argv TEXT: 100 % of it")


def test_behind_two_dashes_stand_values_also_for_one_place() -> None:
    assert read("a", "--recursive", "--", "1")["count"] == 1
    with pytest.raises(Usage, match="one value too many"):
        Parser("x", "x").read(["--", "-a"], argparse.Namespace())


class Yes(BaseModel):
    sure: bool
    kinds: list[str]
    exact: Literal["one"] = "one"


def test_a_required_truth_and_a_required_list_can_be_given() -> None:
    assert read("yes", "--kinds", "a", model=Yes) == {"sure": True, "kinds": ["a"]}
    assert read("--sure", "no", "--kinds", "a", "--exact", "one", model=Yes) == {
        "sure": False,
        "kinds": ["a"],
        "exact": "one",
    }
    with pytest.raises(Usage, match=r"`maybe` is no yes\|no"):
        read("maybe", "--kinds", "a", model=Yes)
    with pytest.raises(Usage, match="`kinds` is missing"):
        read("yes", model=Yes)


def test_the_values_of_one_list_can_stand_without_their_flag() -> None:
    assert read("a", "b", "--sure", "yes", model=Yes, listed="kinds") == {"sure": True, "kinds": ["a", "b"]}


def test_help_shows_what_it_does_its_flags_defaults_and_examples() -> None:
    examples = [
        {
            "title": "Twice",
            "input": {"path": "a b", "count": 2, "recursive": False, "tags": ["x"], "inner": {"size": 1}},
        }
    ]
    more: dict[str, Any] = {"effect": "CHANGE", "takes_back": "irreversible", "why": "it is gone", "examples": examples}
    text = parser_of(described(Wanted, **more), "test it", flags={"ratio": "--share"})[0].format_help()
    for part in (
        "usage: superagent test it PATH COUNT [flags]",
        "Do 100 % of it",
        "test.it · CHANGE · risk LOW · cannot be taken back: it is gone",
        "--share X",
        "(default 0.5)",
        "--recursive, --no-recursive",
        "100 % as it is",
        "--tags TEXT",
        "(repeatable)",
        "--mode a|b",
        "superagent test it 'a b' 2 --no-recursive --tags x --inner '{\"size\": 1}'",
        "--dry-run",
    ):
        assert part in text
    assert "taken back" not in parser_of(described(), "test it")[0].format_help()


def test_what_is_fixed_is_not_asked_for() -> None:
    assert "PATH" not in parser_of(described(), "test it", fixed=("path",))[0].format_usage()


@cache
def parser_of_wanted() -> tuple[Parser, list[Parameter]]:
    return parser_of(described(), "test it")


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(words, st.integers(-(10**12), 10**12), st.booleans(), st.lists(words, min_size=1), words)
def test_what_is_shown_as_an_example_is_read_back_as_the_same_input(
    path: str, count: int, recursive: bool, tags: list[str], value: str
) -> None:
    meant = {"path": path, "count": count, "recursive": recursive, "tags": tags, "json": value}
    parser, wanted = parser_of_wanted()
    typed = shlex.split(as_arguments(meant, wanted))
    assert input_of(parser.read(typed, argparse.Namespace()), wanted, NOW) == meant
