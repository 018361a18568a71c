"""Whatever commands do: accepted, the folder is as if they had run in it; undone, as it was; discarded, untouched."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from superagent.core.invocation import Outcome, Status
from superagent.runtime.sandbox.view import Mounting
from superagent.testing import World
from tests.runtime.sandbox.viewing import WAYS, Desk, desk, run_directly, state_of

NAMES = ("a", "b", "a/c", "a/d", "b/c", "b/e", "a/c/f", "b/e/\u00e9", "a/c/g h", "-r", "b/e/x\ny")
MODES = ("700", "755", "744", "750", "777", "711", *(("000", "600", "444", "555") if os.geteuid() == 0 else ()))
TEXTS = ("", "one\n", "two\nlines\n", "no end", "0" * 5000)
DOES = (
    "write", "append", "delete", "rename", "mode", "link", "folder", "file instead", "anew", "copy", "touch",
    "copy file",
)  # fmt: skip

names, texts, modes = st.sampled_from(NAMES), st.sampled_from(TEXTS), st.sampled_from(MODES)
things = st.dictionaries(
    names, st.one_of(st.tuples(st.just("file"), texts, modes), st.tuples(st.just("link"), names, modes)), max_size=8
)
commands = st.lists(st.tuples(st.sampled_from(DOES), names, names, texts, modes), min_size=1, max_size=12)


def command(does: str, path: str, other: str, text: str, mode: str) -> str:
    """Give one line of shell; what makes no sense at the moment fails, as it would for an agent."""
    one, two, written = (shlex.quote(f"./{path}"), shlex.quote(f"./{other}"), shlex.quote(text))
    match does:
        case "write":
            return f"printf %s {written} > {one}"
        case "append":
            return f"printf %s {written} >> {one}"
        case "delete":
            return f"rm -rf {one}"
        case "rename":
            return f"mv -T {one} {two}"
        case "mode":
            return f"chmod {mode} {one}"
        case "link":
            return f"ln -sfT {shlex.quote(other)} {one}"
        case "folder":
            return f"mkdir -p {one}"
        case "file instead":
            return f"rm -rf {one}; printf %s {written} > {one}"
        case "anew":
            return f"rm -rf {one}; mkdir -p {one}; printf %s {written} > {one}/inner"
        case "copy":
            return f"cp -rT {one} {two}"
        case "touch":
            return f"touch -h {one}"
        case _:
            return f"cat {one} > ./.fresh && mv ./.fresh {two}"


def script_of(steps: list[tuple[str, str, str, str, str]]) -> str:
    return "exec 2>/dev/null\n" + "".join(f"{{ {command(*step)}; }} || true\n" for step in steps)


def plant(folder: Path, tree: dict[str, tuple[str, str, str]]) -> None:
    """Make a random tree: what does not fit together is left out."""
    for name, (kind, content, mode) in sorted(tree.items()):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "link":
                path.symlink_to(content)
            else:
                path.write_text(content)
                path.chmod(int(mode, 8))
        except OSError:
            continue


def times_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Give the times of last writing and of last status change of all that lies in a folder."""
    found = {str(path): os.lstat(path) for path in (folder, *folder.rglob("*"))}
    return {path: (info.st_mtime_ns, info.st_ctime_ns) for path, info in found.items()}


def done(outcome: Outcome) -> None:
    assert outcome.status is Status.DONE, outcome.problem and (outcome.problem.detail, outcome.problem.errors)


async def accept_in_parts(made: Desk, world: World, id: str, share: float) -> list[str]:
    """Accept some by name, then the rest; give the invocations."""
    folder, invocations = str(made.real), list[str]()
    paths = [one.path for one in made.diff(id).differences]
    some = paths[: int(len(paths) * share)]
    for chosen in (some, None):
        if chosen is None or chosen:
            outcome = await world.run("sandbox.accept", {"view": id, "folder": folder, "paths": chosen})
            done(outcome)
            invocations.append(outcome.invocation)
            if msgspec.json.decode(outcome.output)["left"] == 0:
                break
    return invocations


async def hold(way: Mounting, tree: dict[str, tuple[str, str, str]], script: str, share: float) -> None:
    with desk() as made:
        plant(made.real, tree)
        made.own()
        direct = made.top / "direct"
        shutil.copytree(made.real, direct, symlinks=True)
        made.own(direct)
        before = state_of(made.real)
        assert before == state_of(direct)

        times = times_of(made.real)
        dropped = made.after(way, script)
        assert times_of(made.real) == times
        world = made.world()
        done(await world.run("sandbox.discard", {"view": dropped, "folder": str(made.real)}))
        assert times_of(made.real) == times
        assert not os.listdir(made.views.folder)

        run_directly(direct, script)
        id = made.after(way, script)
        invocations = await accept_in_parts(made, world, id, share)
        assert state_of(made.real) == state_of(direct)
        assert not os.listdir(made.views.folder)

        for invocation in reversed(invocations):
            if await world.undo.of("default", ids=[invocation]):
                done(await world.run("undo.apply", {"ids": [invocation]}))
        assert state_of(made.real) == before


shares = st.sampled_from((0.0, 0.3, 0.7))
given_work = given(st.sampled_from(WAYS), things, commands, shares)


@pytest.mark.slow
@settings(max_examples=12, phases=[Phase.reuse, Phase.generate])
@given_work
def test_accepted_is_as_if_run_there_undone_is_as_it_was_discarded_is_untouched(
    way: Mounting,
    tree: dict[str, tuple[str, str, str]],
    steps: list[tuple[str, str, str, str, str]],
    share: float,
) -> None:
    asyncio.run(hold(way, tree, script_of(steps), share))


@pytest.mark.soak
@settings(max_examples=2000)
@given_work
def test_the_same_with_many_trees_and_commands(
    way: Mounting,
    tree: dict[str, tuple[str, str, str]],
    steps: list[tuple[str, str, str, str, str]],
    share: float,
) -> None:
    asyncio.run(hold(way, tree, script_of(steps), share))
