"""`superagent connect`: a key for each program, and its configuration changed by nothing but one entry."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from superagent.surfaces.cli.clients import CLIENTS
from superagent.surfaces.cli.config_files import Edit
from tests.promise import promise
from tests.surfaces.cli.command_line import Ran, Server, environment

Cli = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home folder in which every program has been started once."""
    found = tmp_path / "home"
    for client in CLIENTS.values():
        (found / client.user).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("HOME", str(found))
    return found


@pytest.fixture
def connect(run_here: Cli, server: Server, home: Path) -> Cli:
    return lambda *arguments: run_here("--data", str(server.data), "connect", *arguments, "--json")


def entry_of(home: Path, name: str, at: Path | None = None) -> dict[str, Any]:
    client = CLIENTS[name]
    text = (at or home / client.user).read_text()
    document: Any = tomlkit.parse(text).unwrap() if client.kind == "toml" else json.loads(text)
    return document[client.at]["superagent"]


def keys(home: Path) -> list[Path]:
    return sorted((home / ".config/superagent/clients").glob("*.key"))


@promise("10.5")
@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_each_program_gets_an_entry_and_a_key_that_nobody_else_reads(connect: Cli, home: Path, name: str) -> None:
    made = connect(name)
    assert made.code == 0, made.err
    entry = entry_of(home, name)
    (key,) = keys(home)
    assert entry["args"][-3:] == ["mcp", "--toolsets", "files"]
    assert entry["args"][entry["args"].index("--api-key-file") + 1] == str(key)
    secret = key.read_text().strip()
    written = (home / CLIENTS[name].user).read_text()
    assert secret.startswith("sa")
    assert secret not in written + made.out + made.err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / CLIENTS[name].user).stat().st_mode) == 0o600
    again = connect(name)
    assert (again.document["changed"], keys(home)) == (False, [key])
    assert key.read_text().strip() == secret


@promise("10.5")
async def test_what_was_written_starts_and_speaks_mcp_by_the_official_client(connect: Cli, home: Path) -> None:
    assert connect("claude-code").code == 0
    entry = entry_of(home, "claude-code")
    started = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment(HOME=str(home)))
    async with Client(stdio_client(started)) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        who = await client.call_tool("access_whoami", {})
        denied = await client.call_tool("run_operation", {"operation": "shell.run", "input": {"command": "id"}})
    assert {"files_read", "search_operations"} <= listed
    assert "claude-code-" in json.dumps(who.structured_content)
    assert denied.is_error  # the key does nothing but what its toolsets say
    assert "not-found" in json.dumps(denied.structured_content)


OTHERS = '{\n\t"theme": "dark",\n\t"mcpServers": {\n\t\t"other": {"command": "x", "args": []}\n\t},\n\t"z": [1, 2]\n}\n'


def test_all_else_stays_and_a_copy_is_kept(connect: Cli, home: Path) -> None:
    file = home / CLIENTS["cursor"].user
    file.write_text(OTHERS)
    os.chmod(file, 0o640)
    made = connect("cursor")
    after = json.loads(file.read_text())
    assert list(after) == ["theme", "mcpServers", "z"]
    assert after["mcpServers"]["other"] == {"command": "x", "args": []}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert "\n\t" in file.read_text()
    copy = Path(made.document["backup"])
    assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == (OTHERS, 0o600)
    assert made.document["diff"].count("\n+++") == 1

    gone = connect("cursor", "--remove")
    assert gone.code == 0, gone.err
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (OTHERS, 0o640)  # to the byte
    assert keys(home) == []
    assert list(file.parent.iterdir()) == [file]  # a copy of what stands there again helps nobody


def test_there_is_never_more_than_one_copy_and_none_of_what_we_wrote(connect: Cli, home: Path) -> None:
    file = home / CLIENTS["cursor"].user
    file.write_text(OTHERS)
    copy = Path(connect("cursor").document["backup"])
    again = connect("cursor", "--toolsets", "files,shell", "--new-key")
    assert (again.document["changed"], again.document["backup"]) == (True, "")
    assert copy.read_text() == OTHERS

    theirs = file.read_text().replace("dark", "light")
    file.write_text(theirs)  # by the program, or by hand
    gone = connect("cursor", "--remove")
    assert gone.document["backup"] == str(copy)
    assert copy.read_text() == theirs
    assert json.loads(file.read_text()) == json.loads(OTHERS.replace("dark", "light"))
    assert sorted(file.parent.iterdir()) == [file, copy]


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_what_was_made_for_the_entry_goes_with_it(connect: Cli, home: Path, tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert connect(name, "--project", str(project)).code == 0
    shown = connect(name, "--project", str(project), "--remove", "--dry-run")
    assert "+{" not in shown.document["diff"]
    assert connect(name, "--project", str(project), "--remove").code == 0
    assert list(project.iterdir()) == []

    file = home / CLIENTS[name].user
    assert connect(name).code == 0
    assert connect(name, "--remove").code == 0
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize(("before", "after"), [("{}", "{}"), ('{"mcpServers": {}}', '{"mcpServers": {}}')])
def test_what_was_there_and_empty_stays(connect: Cli, home: Path, before: str, after: str) -> None:
    file = home / CLIENTS["cursor"].user
    file.write_text(before)
    assert connect("cursor").code == 0
    assert connect("cursor", "--remove").code == 0
    assert file.read_text() == after


def test_what_others_put_beside_the_entry_stays(connect: Cli, home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    file = project / ".vscode/mcp.json"
    assert connect("vscode", "--project", str(project)).code == 0
    assert connect("vscode", "--project", str(project), "--new-key").code == 0  # what was made stays known
    (project / ".vscode/settings.json").write_text("{}")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"inputs": [1]}))
    assert connect("vscode", "--project", str(project), "--remove").code == 0
    assert json.loads(file.read_text()) == {"inputs": [1]}
    assert (project / ".vscode/settings.json").exists()


def test_comments_of_toml_stay(connect: Cli, home: Path) -> None:
    file = home / CLIENTS["codex"].user
    text = '# mine\nmodel = "x"  # the best\n\n[mcp_servers.other]\ncommand = "y"\n'
    file.write_text(text)
    assert connect("codex").code == 0
    assert file.read_text().startswith(text.rstrip("\n"))
    assert connect("codex", "--remove").code == 0
    assert tomlkit.parse(file.read_text()).unwrap() == tomlkit.parse(text).unwrap()
    assert "# the best" in file.read_text()


@pytest.mark.parametrize(
    "text", ['{\n  // mine\n  "mcpServers": {}\n}', '{"a": 1, "a": 2}', '{"mcpServers": []}', "[1]", "{", "\xff"]
)
def test_what_would_lose_something_is_refused_with_the_entry_to_paste(connect: Cli, home: Path, text: str) -> None:
    file = home / CLIENTS["cursor"].user
    file.write_bytes(text.encode("latin-1"))
    before = file.read_bytes()
    refused = connect("cursor")
    assert refused.code == 5
    assert "--api-key-file" in refused.document["hint"]
    assert file.read_bytes() == before
    assert keys(home) == []
    assert sorted(file.parent.iterdir()) == [file]


def test_a_server_of_that_name_that_is_not_ours_stays(connect: Cli, home: Path) -> None:
    file = home / CLIENTS["cursor"].user
    file.write_text('{"mcpServers": {"superagent": {"command": "theirs", "args": ["mcp"]}}}')
    before = file.read_text()
    for more in ((), ("--remove",)):
        assert connect("cursor", *more).code != 0
    assert (file.read_text(), keys(home)) == (before, [])
    assert connect("cursor", "--name", "ours").code == 0


def test_a_dry_run_shows_and_changes_nothing(connect: Cli, home: Path) -> None:
    shown = connect("vscode", "--dry-run")
    assert '"servers"' in shown.document["diff"]
    assert not (home / CLIENTS["vscode"].user).exists()
    assert not (home / ".config/superagent").exists()


def test_removing_ends_the_key(connect: Cli, run_here: Cli, server: Server, home: Path) -> None:
    connect("gemini")
    key = keys(home)[0].read_text().strip()
    who = run_here("--data", str(server.data), "access", "whoami", "--json", key=key)
    assert who.code == 0, who.err
    gone = connect("gemini", "--remove")
    assert (gone.code, gone.document["key_ended"]) == (0, True)
    assert run_here("--data", str(server.data), "access", "whoami", "--json", key=key).code != 0
    again = connect("gemini", "--remove")  # safe to repeat, and it says that there was none
    assert (again.code, again.document["key_ended"]) == (0, False)


def test_a_new_key_ends_the_old_one(connect: Cli, run_here: Cli, server: Server, home: Path) -> None:
    connect("windsurf")
    old = keys(home)[0].read_text().strip()
    assert connect("windsurf", "--new-key").code == 0
    assert keys(home)[0].read_text().strip() != old
    assert run_here("--data", str(server.data), "access", "whoami", "--json", key=old).code != 0


def test_a_program_that_is_not_here_is_said(run_here: Cli, server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    refused = run_here("--data", str(server.data), "connect", "cursor", "--json")
    assert refused.code == 5
    assert "Cursor is not here" in refused.document["detail"]


def test_a_project_has_its_own_entry_and_key(connect: Cli, home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert connect("vscode").code == 0
    assert connect("vscode", "--project", str(project)).code == 0
    assert entry_of(home, "vscode", project / ".vscode/mcp.json")["command"]
    assert len(keys(home)) == 2
    assert connect("claude", "--project", str(project)).code == 2


def test_links_are_followed_and_a_file_that_changes_meanwhile_is_left(
    connect: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = home / CLIENTS["cursor"].user, tmp_path / "dotfiles.json"
    real.write_text("{}")
    file.symlink_to(real)
    assert connect("cursor").code == 0
    assert file.is_symlink()
    assert "superagent" in real.read_text()
    connect("cursor", "--remove")

    write = Edit.write

    def raced(edit: Edit, *known: Any) -> str:
        real.write_text('{"mcpServers": {}, "written": "by the program"}')
        return write(edit, *known)

    monkeypatch.setattr(Edit, "write", raced)
    assert connect("cursor").code == 1
    assert real.read_text() == '{"mcpServers": {}, "written": "by the program"}'
    assert keys(home) == []
    assert [one.name for one in tmp_path.glob("*dotfiles.json*")] == ["dotfiles.json"]


def test_a_toolset_that_is_like_none_is_answered_with_those_that_exist(connect: Cli) -> None:
    refused = connect("cursor", "--toolsets", "zzzz")
    assert refused.code == 2
    assert all(f"{one}, " in refused.document["hint"] for one in ("files", "shell"))


@pytest.mark.parametrize("toolsets", ["fils", "files,shel.run", "files.raed"])
def test_what_is_not_there_is_refused_before_a_key_is_made(connect: Cli, home: Path, toolsets: str) -> None:
    for further in ((), ("--dry-run",)):
        refused = connect("cursor", "--toolsets", toolsets, *further)
        assert refused.code == 2
        assert "did you mean" in refused.document["hint"]
    assert keys(home) == []
    assert not (home / CLIENTS["cursor"].user).exists()


def test_a_key_that_stays_is_not_taken_for_one_that_may_do_more(connect: Cli, home: Path, tmp_path: Path) -> None:
    assert connect("cursor", "--workspace", str(tmp_path)).code == 0
    (key,) = keys(home)
    before = key.read_text(), (home / CLIENTS["cursor"].user).read_text()
    for more in (("--toolsets", "files,shell"), ("--workspace", "/")):
        refused = connect("cursor", *more)
        assert (refused.code, "--new-key" in refused.document["hint"]) == (2, True)
        assert (key.read_text(), (home / CLIENTS["cursor"].user).read_text()) == before
    assert connect("cursor").code == 0  # says nothing else
    assert connect("cursor", "--toolsets", "files,shell", "--new-key").code == 0
    assert key.read_text() != before[0]


def test_what_a_key_may_do_is_said_before_and_after(run_here: Cli, server: Server, home: Path, tmp_path: Path) -> None:
    wanted = ("--data", str(server.data), "connect", "cursor", "--toolsets", "files,shell.run", "--expires", "2d")
    said = f"allowed files.*, shell.run in `{tmp_path}` for 2 days"
    assert said in run_here(*wanted, "--workspace", str(tmp_path), "--dry-run").err
    assert said in run_here(*wanted, "--workspace", str(tmp_path)).err
    assert keys(home)
