"""Apart: what hostile input makes a library do ends in a process of its own."""

from __future__ import annotations

import os
import resource

import pytest

from superagent.core.problems import TooLarge
from superagent.runtime import run_apart
from superagent.runtime.run_apart import MEMORY_BYTES, apart

EXPLAINED = "superagent.plugins.shell.engine.explain:explained"


def test_a_function_gets_json_and_gives_json() -> None:
    assert apart("builtins:sorted", ["é", "a"]) == ["a", "é"]


@pytest.mark.parametrize("argument", ["/", "/proc/self/fd"])
def test_it_can_open_nothing(argument: str) -> None:
    assert os.listdir(argument)  # the control

    with pytest.raises(TooLarge):
        apart("os:listdir", argument)


def test_it_gets_nothing_of_the_environment_and_starts_nothing() -> None:
    assert os.environ["PATH"]

    assert apart("os:getenv", "PATH") is None
    with pytest.raises(TooLarge):
        apart("os:fork")
    if os.geteuid() == 0:
        assert apart("os:getuid") == 65534


@pytest.mark.parametrize("size", [MEMORY_BYTES, run_apart.ANSWER_BYTES], ids=["memory", "answer"])
def test_what_it_makes_has_an_end(size: int) -> None:
    with pytest.raises(TooLarge, match="more time or memory"):
        apart("operator:mul", "a", size)


def test_its_time_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_apart, "CPU_S", 0)
    with pytest.raises(TooLarge):
        apart("re:match", "(a*)*b", "a" * 60)

    monkeypatch.setattr(run_apart, "WALL_S", 1.0)
    with pytest.raises(TooLarge):
        apart("time:sleep", 60)


@pytest.mark.parametrize(
    "text",
    [
        "a|" * 50_000, ">]]`" * 25_000, "`<}" * 30_000, "in `>" * 20_000, "sudo " * 20_000, "env " * 20_000,
        'sh -c "' * 13_999, "<<a\n" * 25_000, "(" * 20_000, "$(" * 20_000, "a;" * 40_000, "'" * 50_001,
    ],
)  # fmt: skip
def test_a_text_made_to_cost_much_costs_this_process_nothing_and_is_never_called_harmless(text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    try:
        risk = apart(EXPLAINED, text)["risk"]
    except TooLarge:  # what the operation calls `HIGH`
        risk = "HIGH"

    assert risk == "HIGH" or not set(text) & set('|`<"')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
