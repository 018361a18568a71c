"""Settings: one order of precedence, each value with its origin, and clear words for wrong ones."""

from __future__ import annotations

import asyncio
import fcntl
import os
from itertools import cycle
from pathlib import Path

import pytest

from superagent.core.problems import Denied, InvalidInput, Locked, NotFound
from superagent.runtime.settings_file import SettingsFile
from superagent.settings import data_folder, load, names


def test_flags_beat_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    (tmp_path / "superagent.toml").write_text('[server]\nport = 1\nhost = "::1"\nworkers = 2\n')
    env = {"SUPERAGENT_SERVER__PORT": "2", "SUPERAGENT_SERVER__HOST": "localhost", "SUPERAGENT_DATA": "x", "OTHER": "y"}
    found = load(tmp_path, {"server.port": 3, "server.host": None}, env)
    assert (found.settings.server.port, found.settings.server.host, found.settings.server.workers) == (
        3,
        "localhost",
        2,
    )
    assert [found.origins[f"server.{name}"] for name in ("port", "host", "workers", "max_body_bytes")] == [
        "flag",
        "environment",
        "file",
        "default",
    ]


def test_lists_in_the_environment_are_separated_by_commas(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"SUPERAGENT_FILES__ROOTS": "/srv,/opt"}).settings.files.roots == ["/srv", "/opt"]


@pytest.mark.parametrize(
    ("text", "env", "says"),
    [
        ("[server]\nport = 'x'\n", {}, r"server\.port.*from file"),
        ("[server]\nprt = 1\n", {}, "prt"),
        ("port = 1\n", {}, "outside of a section"),
        ("[server\n", {}, "cannot be read"),
        ("", {"SUPERAGENT_SERVER__PRT": "1"}, "names no setting"),
        ("", {"SUPERAGENT_SERVER__PORT": "70000"}, "from environment"),
    ],
)
def test_a_wrong_setting_is_named_with_where_it_stands(
    tmp_path: Path, text: str, env: dict[str, str], says: str
) -> None:
    (tmp_path / "superagent.toml").write_text(text)
    with pytest.raises(InvalidInput, match=says):
        load(tmp_path, environ=env)


def test_the_data_folder_comes_from_flag_environment_or_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_folder("/a", {"SUPERAGENT_DATA": "/b"}) == Path("/a")
    assert data_folder("", {"SUPERAGENT_DATA": "/b"}) == Path("/b")
    assert data_folder("", {"XDG_DATA_HOME": "/x"}) == Path("/x/superagent")
    monkeypatch.setattr("sys.platform", "darwin")
    assert data_folder("", {}).parts[-3:] == ("Library", "Application Support", "superagent")


async def test_a_written_setting_counts_at_the_next_load_and_keeps_comments(tmp_path: Path) -> None:
    (tmp_path / "superagent.toml").write_text("# mine\n[server]\nport = 1  # why\n")
    file = SettingsFile(load(tmp_path, environ={}))
    await file.write("server.port", 5)
    await file.write("files.roots", ["/srv"])
    text = (tmp_path / "superagent.toml").read_text()
    assert "# mine" in text
    assert load(tmp_path, environ={}).settings.server.port == 5
    assert file.current("server.port") == 5
    assert file.current("files.roots") == ["/srv"]
    await file.write("server.port", None)
    assert file.current("server.port") is None


async def test_a_value_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = SettingsFile(load(tmp_path, environ={}))
    await file.write("server.port", 5)
    before = (tmp_path / "superagent.toml").read_text()
    for value in ("x", 70000, {"a": {1: 2}}, object()):
        with pytest.raises(InvalidInput):
            await file.write("server.port", value)
    assert (tmp_path / "superagent.toml").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["superagent.toml"]


async def test_of_many_who_write_at_once_none_loses_what_another_wrote(tmp_path: Path) -> None:
    workers = [SettingsFile(load(tmp_path, environ={})) for _ in range(3)]  # as many processes have one each
    values = {"server.port": 5, "server.max_body_bytes": 2048, "log.level": "error", "limits.agent_burst": 7}
    values |= {"files.roots": ["/srv"], "audit.stuck_after_s": 9.0, "limits.agent_rate_per_s": 2.5}
    writes = [worker.write(name, value) for (name, value), worker in zip(values.items(), cycle(workers), strict=False)]
    await asyncio.gather(*writes)
    assert {name: workers[0].current(name) for name in values} == values


async def test_each_of_two_writes_of_one_setting_keeps_what_it_replaced(tmp_path: Path) -> None:
    one, other = (SettingsFile(load(tmp_path, environ={})) for _ in range(2))
    kept: dict[int, object] = {}

    async def write(file: SettingsFile, port: int) -> None:
        async def keep(before: object) -> None:
            await asyncio.sleep(0)
            kept[port] = before

        await file.write("server.port", port, keep)

    await asyncio.gather(write(one, 1), write(other, 2))
    assert kept == {1: None, 2: 1} or kept == {2: None, 1: 2}
    assert one.current("server.port") == max(kept, key=lambda port: kept[port] is not None)


async def test_a_file_that_does_not_come_free_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SettingsFile(load(tmp_path, environ={}))
    monkeypatch.setattr("superagent.runtime.settings_file.WAIT_S", 0.05)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(Locked, match=r"superagent\.toml"):
        await file.write("server.port", 5)
    os.close(folder)
    await file.write("server.port", 6)
    assert file.current("server.port") == 6


async def test_unknown_settings_and_broken_files_are_refused(tmp_path: Path) -> None:
    file = SettingsFile(load(tmp_path, environ={}))
    with pytest.raises(NotFound):
        await file.write("server.prt", 5)
    (tmp_path / "superagent.toml").write_text("[")
    with pytest.raises(InvalidInput):
        file.current("server.port")


def test_the_list_shows_every_setting_and_no_password(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"database.url": "postgresql://ada:secret@db/x", "queue.url": "redis://h/0"}, {})
    listed = {name: (value, origin) for name, value, origin, _ in SettingsFile(loaded).listed()}
    assert sorted(listed) == sorted(names())
    assert listed["database.url"] == ("postgresql://ada:…@db/x", "flag")
    assert listed["queue.url"] == ("redis://h/0", "flag")


@pytest.mark.parametrize("name", ["net.allow_private", "net.ca_file"])
async def test_where_the_platform_may_connect_is_said_by_the_file_alone(tmp_path: Path, name: str) -> None:
    variable = f"SUPERAGENT_{name.upper().replace('.', '__')}"
    with pytest.raises(InvalidInput, match=f"`{name}` is taken from the settings file only, not from environment"):
        load(tmp_path, environ={variable: "127.0.0.0/8"})
    with pytest.raises(InvalidInput, match="not from flag"):
        load(tmp_path, {name: ["127.0.0.0/8"]}, {})
    (tmp_path / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\nca_file = "/x.pem"\n')
    loaded = load(tmp_path, environ={})
    assert loaded.settings.net.allow_private == ["127.0.0.1/32"]
    with pytest.raises(Denied, match="cannot be set by a call"):
        await SettingsFile(loaded).write(name, None)
    assert load(tmp_path, environ={}).settings.net.ca_file == "/x.pem"
