"""Plugins are loaded as the settings say; what is unfit is left out, said and recorded, and the server goes on."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from superagent.core.problems import InvalidInput, Overloaded, Unavailable
from superagent.runtime.hosted import hosting, process, quarters
from superagent.runtime.hosted.loading import covers
from superagent.settings import load
from tests.runtime.hosted.here import Here, plugin_in, with_plugin

pytestmark = pytest.mark.timeout(120)

SOURCE = '''
"""A plugin that says one word."""
import os
from superagent.sdk import Context, Effect, Output, Plugin, Risk

plugin = Plugin("NAME")


class Word(Output):
    """A word."""

    word: str


@plugin.operation(name="NAME.say", risk=Risk.LOW, effect=Effect.READ)
async def say(ctx: Context, word: str = "hello") -> Word:
    """Say a word."""
    if word == "pid":
        return Word(word=str(os.getpid()))
    if word == "divide":
        1 / 0
    if word == "leave":
        os._exit(1)
    return Word(word=word)
'''
HOOK = "\n@plugin.lifespan\ndef run():\n    raise RuntimeError\n"


def source(name: str, more: str = "") -> str:
    return SOURCE.replace("NAME", name) + more


async def test_each_plugin_stands_as_it_deserves_and_the_server_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = tmp_path / "made"
    folders = [
        plugin_in(at / "good", "print('loud at import')\n" + source("good")),
        plugin_in(at / "boom", "raise RuntimeError('no')"),
        plugin_in(at / "quits", "import sys; sys.exit(0)"),
        plugin_in(at / "empty", ""),
        plugin_in(at / "shadow", source("shadow").replace("shadow.say", "files.read")),
        plugin_in(at / "shell", source("shell")),
        plugin_in(at / "workflows", source("workflows")),
        plugin_in(at / "doctor", source("doctor")),
        plugin_in(at / "greedy", source("greedy"), reaches=["net"]),
        plugin_in(at / "caller", source("caller"), calls=["access.keys.create"]),
        plugin_in(at / "grabby", source("grabby").replace('("grabby")', '("grabby", reaches=("net",))')),
        plugin_in(at / "hooked", source("hooked", HOOK)),
        plugin_in(at / "needy", source("needy"), extras=["pydantic", "no-such-distribution"]),
        plugin_in(at / "broken", source("broken"), reaches=["everything"]),
        plugin_in(at / "bad", "raise RuntimeError('not even here')"),
        plugin_in(at / "idle", source("idle")),
    ]
    (tmp_path / "data" / "plugins").mkdir(parents=True)
    named = [one.name for one in folders if one.name not in ("bad", "idle")]
    async with with_plugin(tmp_path / "data", *folders, hosted=[*named, "absent"], trusted=["bad"]) as here:
        standing = await here.standing()
        assert standing.pop("good") == ("hosted", "")
        assert standing.pop("idle") == ("off", "no setting names it")
        assert {state for state, _ in standing.values()} == {"refused"}
        why = {name: why for name, (_, why) in standing.items()}
        assert "RuntimeError: no" in caplog.text
        assert why["boom"] == "importing it failed: RuntimeError: no (operations.py, line 1)"
        assert why["quits"] == "importing it failed: SystemExit: 0 (operations.py, line 1)"
        assert why["empty"].endswith("holds no single `Plugin('empty')`")
        assert why["bad"] == "importing it failed: RuntimeError: not even here"
        assert why["shadow"] == "`files.read` is not `shadow.…`: a plugin declares nothing under another's name"
        assert why["shell"] == why["workflows"] == why["doctor"] == "its name belongs to the platform"
        assert why["greedy"] == "it wants `net`, which the setting `plugins.hosted` does not give it"
        assert why["caller"].startswith("it wants `call:access.keys.create`, which the setting")
        assert why["grabby"] == "it reaches `net`, which its manifest does not say"
        assert why["hooked"] == "a hosted plugin cannot hang `lifespan` on the platform; only a trusted one can"
        assert why["needy"] == "it needs `no-such-distribution`, which is not installed beside the server"
        assert why["broken"].startswith("`plugin.toml`: $.reaches")
        assert why["absent"] == "there is no such plugin"
        assert (await here.run("good.say")).result() == {"word": "hello"}
        assert (await here.run("files.stat", path="/")).problem is None
        index = here.installation.index
        records = [
            one
            for tenant in ("", "system", "default")
            for one in (await index.query(tenant, operation="plugins.loaded"))[0]
        ]
        found = {one["detail"]["plugin"]: one["kind"] for one in records}
        assert found == {"good": "event"} | dict.fromkeys(why, "refused")


async def test_where_no_setting_names_a_plugin_none_is_started(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(tmp_path / "data", folder) as here:
        assert await here.standing() == {"good": ("off", "no setting names it")}
        (tmp_path / "data/superagent.toml").write_text('[plugins]\nhosted = ["good: files"]\n')
        assert await here.standing() == {"good": ("off", "the settings name it by now: it is loaded at the next start")}
        assert (await here.run("good.say")).problem is not None
        assert here.installation.sandbox.launcher.pid is None


async def test_what_breaks_in_a_plugin_is_told_as_its_own(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(tmp_path / "data", folder, hosted=["good"]) as here:
        problem = (await here.run("good.say", word="divide")).problem
    assert problem is not None
    said = problem.document()
    assert said["detail"].startswith(
        "the plugin `good` broke: ZeroDivisionError: division by zero (operations.py, line"
    )
    assert "inside the platform" not in said["title"]
    assert "Traceback" not in str(said)


async def test_a_plugin_that_never_ends_importing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 1.0)
    folder = plugin_in(tmp_path / "made" / "slow", "import threading; threading.Event().wait()")
    async with with_plugin(tmp_path / "data", folder, hosted=["slow"]) as here:
        assert await here.standing() == {"slow": ("refused", "it did not declare itself in time")}


async def test_what_a_plugin_declares_is_remembered_until_its_folder_changes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(data, folder, hosted=["good"]) as here:
        assert here.installation.sandbox.launcher.pid is not None
    async with with_plugin(data, folder, hosted=["good"]) as here:
        assert here.installation.sandbox.launcher.pid is None  # nothing was started to hear it again
        assert here.installation.kernel.registry.get("good.say").version == 1
    (data / "plugins" / "good" / "operations.py").write_text(source("good").replace("effect=", "version=2, effect="))
    async with with_plugin(data, folder, hosted=["good"]) as here:
        assert here.installation.kernel.registry.get("good.say").version == 2
    (data / "state" / "plugins" / "good.json").write_text("{")
    async with with_plugin(data, folder, hosted=["good"]) as here:
        assert (await here.run("good.say")).result() == {"word": "hello"}


async def test_a_plugin_that_changes_between_loads_gets_nothing_by_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    place = data / "plugins" / "good"
    async with with_plugin(data, plugin_in(tmp_path / "made" / "good", source("good")), hosted=["good"]) as here:
        first = (await here.run("good.say", word="pid")).result()
        # its code changes under the running server: what was admitted by one declaration is not done by another
        (place / "operations.py").write_text(source("good").replace('word: str = "hello"', 'word: str = "bye"'))
        assert (await here.run("good.say", word="pid")).result() == first
        await idle(here)
        problem = (await here.run("good.say")).problem
        assert isinstance(problem, Unavailable)
        assert problem.detail == "the plugin `good` declares something else than it did when it was loaded"
        refused = [one for one in await here.records(operation="plugins.ended") if one["kind"] == "refused"]
        assert [one["detail"]["plugin"] for one in refused] == ["good"]
    # its manifest asks for more at the next load: the setting, and not the manifest, says what it may
    plugin_in(place, source("good"), reaches=["files"], calls=["access.*"])
    async with with_plugin(data, hosted=["good"]) as here:
        state, why = (await here.standing())["good"]
        assert (state, why) == (
            "refused",
            "it wants `call:access.*`, which the setting `plugins.hosted` does not give it",
        )


async def idle(here: Here) -> None:
    """Let every process be one that nobody has used for long."""
    for one in here.hosting._processes.values():  # pyright: ignore[reportPrivateUsage]
        one.idle_since -= 2 * hosting.IDLE_S
    await here.hosting.sweep()


async def test_processes_end_when_nobody_uses_them_and_at_the_end_of_the_server(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(tmp_path / "data", folder, hosted=["good"]) as here:
        assert (await here.run("good.say")).problem is None
        assert len(here.hosting) == 1
        await here.hosting.sweep()
        assert len(here.hosting) == 1
        await idle(here)
        assert len(here.hosting) == 0
        assert await here.ends_after(0) == ["nobody used it"]
        assert (await here.run("good.say")).problem is None
        pid = here.installation.sandbox.launcher.pid
    assert len(here.hosting) == 0
    assert not Path(f"/proc/{pid}").exists()


async def test_there_are_never_more_processes_than_there_may_be(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(tmp_path / "data", folder, hosted=["good"]) as here:
        here.hosting._most = 2  # pyright: ignore[reportPrivateUsage]
        people = [here.owner.delegate(f"agent{n}", "agent", roles=("owner",)) for n in range(4)]
        for one in people:  # whoever has been idle for longest makes room
            assert (await here.run("good.say", by=one)).problem is None
            assert len(here.hosting) <= 2
        busy = [asyncio.ensure_future(here.run("good.say", by=one, word="stay")) for one in people]
        ended = await asyncio.gather(*busy)
        assert all(one.problem is None or isinstance(one.problem, Overloaded) for one in ended)
        assert any(one.problem is None for one in ended)


async def test_one_that_keeps_ending_is_left_alone_for_a_while_and_nobody_else_waits(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    async with with_plugin(tmp_path / "data", folder, hosted=["good"]) as here:
        for _ in range(3):
            problem = (await here.run("good.say", word="leave")).problem
            assert isinstance(problem, Unavailable)
            if "left alone" in problem.detail:
                break
        problem = (await here.run("good.say")).problem
        assert isinstance(problem, Unavailable)
        assert "keeps ending, and is left alone for" in problem.detail
        assert problem.retry_after_s is not None
        assert 0 < problem.retry_after_s <= 60
        other = here.owner.delegate("builder", "agent", roles=("owner",))
        assert (await here.run("good.say", by=other)).problem is None


async def test_a_plugin_of_an_installed_distribution_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    plugin_in(site / "goodpackage", source("good"), name="good", version="2.0")
    (site / "goodpackage" / "__init__.py").touch()
    about = site / "goodpackage-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: goodpackage\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text(
        "[superagent.plugins]\ngood = goodpackage.operations:plugin\nodd = nowhere\n"
    )
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    places = {**sysconfig.get_paths(), "platlib": str(site)}
    monkeypatch.setattr(quarters.sysconfig, "get_path", places.__getitem__)
    ways: dict[str, dict[str, Any]] = {"one": {"hosted": ["good", "odd"]}, "two": {"trusted": ["good"]}}
    for data, chosen in ways.items():
        async with with_plugin(tmp_path / data, **chosen) as here:
            standing = await here.standing()
            assert standing["good"][0] == ("hosted" if data == "one" else "trusted")
            assert standing["odd"] == ("refused", "its entry point `nowhere` names no module in a package")
            assert (await here.run("good.say")).result() == {"word": "hello"}


async def test_of_two_plugins_of_a_name_neither_is_loaded(tmp_path: Path) -> None:
    first = plugin_in(tmp_path / "made" / "good", source("good"))
    data = tmp_path / "data"
    other = plugin_in(tmp_path / "more" / "good", source("good"))
    async with with_plugin(data, first, hosted=["good"], folders=[str(other.parent)]) as here:
        assert (await here.standing())["good"] == ("refused", "there is another plugin of this name")
        assert (await here.run("good.say")).problem is not None


async def test_where_more_is_demanded_than_the_sandbox_gives_nothing_is_hosted(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "good", source("good"))
    least = '[sandbox]\nminimum_level = "container"'
    async with with_plugin(tmp_path / "data", folder, settings=least, hosted=["good"]) as here:
        state, why = (await here.standing())["good"]
        assert (state, why) == ("refused", "nothing here contains commands at the level `container`")


def test_who_runs_inside_the_server_is_said_by_the_file_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"plugins\.trusted"):
        load(tmp_path, environ={"SUPERAGENT_PLUGINS__TRUSTED": "notes"})
    with pytest.raises(InvalidInput, match=r"plugins\.trusted"):
        load(tmp_path, {"plugins.trusted": ["notes"]}, environ={})


def test_a_setting_gives_an_operation_or_all_of_a_domain() -> None:
    assert covers("call:files.*", "call:files.read")
    assert covers("call:files.read", "call:files.read")
    for given in ("call:files.read", "call:filesystem.*", "files", "call:file.*"):
        assert not covers(given, "call:files.*")


async def test_a_setting_that_says_nothing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"plugins\.hosted"):
        async with with_plugin(tmp_path / "data", hosted=["good: all of it"]):
            raise AssertionError
