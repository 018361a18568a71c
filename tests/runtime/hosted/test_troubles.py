"""What is wrong with a plugin is said where its author looks: by the call that fails, and by `plugins.list`."""

from __future__ import annotations

from pathlib import Path

import pytest

from superagent.runtime.hosted.traces import gist
from tests.runtime.hosted.here import plugin_in, with_plugin

pytestmark = pytest.mark.timeout(120)

SOURCE = '''
"""A plugin with faults."""
import os
import sys
from superagent.sdk import Context, Effect, Output, Plugin, Risk, SecretText

clumsy = Plugin("clumsy")


class Word(Output):
    """A word."""

    word: str


@clumsy.operation(risk=Risk.LOW, effect=Effect.READ)
async def say(ctx: Context, how: str = "well") -> Word:
    """Say a word."""
    if how == "divide":
        return Word(word=str(1 // 0))
    if how == "leave":
        print("my last words", file=sys.stderr, flush=True)
        os._exit(3)
    return Word(word=how)


@clumsy.operation(risk=Risk.LOW, effect=Effect.READ)
async def hush(ctx: Context, word: SecretText) -> Word:
    """Break over a secret."""
    raise RuntimeError(word.reveal())
'''


async def test_a_plugin_that_breaks_or_ends_says_how_until_it_works_again(tmp_path: Path) -> None:
    clumsy = plugin_in(tmp_path / "clumsy", SOURCE)
    async with with_plugin(tmp_path / "data", clumsy, hosted=["clumsy"]) as here:
        broke = (await here.run("clumsy.say", how="divide")).problem
        assert broke is not None
        assert broke.slug == "internal"
        line = SOURCE.splitlines().index("        return Word(word=str(1 // 0))") + 1
        assert broke.detail.startswith("the plugin `clumsy` broke: ZeroDivisionError: ")
        assert broke.detail.endswith(f" (operations.py, line {line})")

        ended = (await here.run("clumsy.say", how="leave")).problem
        assert ended is not None
        assert ended.slug == "unavailable"
        assert "the last it said is `my last words`" in (ended.hint or "")
        assert await here.standing() == {"clumsy": ("hosted", "it ended in the middle of a call: it ended")}

        assert (await here.run("clumsy.say")).result() == {"word": "well"}
        assert await here.standing() == {"clumsy": ("hosted", "")}


async def test_what_a_plugin_says_while_it_holds_a_secret_is_in_no_problem(tmp_path: Path) -> None:
    clumsy = plugin_in(tmp_path / "clumsy", SOURCE)
    async with with_plugin(tmp_path / "data", clumsy, hosted=["clumsy"]) as here:
        broke = (await here.run("clumsy.hush", word="what nobody may read")).problem
        assert broke is not None
        assert (broke.slug, broke.detail) == ("internal", "the plugin `clumsy` broke")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"only this\n", "only this"),
        (b'  File "/opt/superagent/plugin/in/a.py", line 3, in x\nValueError: \x1b[2J\xff', "(in/a.py, line 3)"),
        (b'  File "/opt/superagent/python/a.py", line 3, in x\nValueError: no', "ValueError: no"),
        (b"x" * 100_000, "x" * 300),
    ],
)
def test_of_a_trace_the_last_line_and_its_place_are_told_and_nothing_that_acts_on_a_terminal(
    said: bytes, found: str
) -> None:
    told = gist(said)
    assert told.endswith(found)
    assert told.isprintable()
    assert bool(told) is bool(found)
