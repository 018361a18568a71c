"""A call from the command line does the same by the kernel in its own process and by a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superagent.surfaces.cli.target import Answer
from tests.needs import program
from tests.surfaces.cli.conftest import Cli

Agent = Callable[..., str]


def allow(*operations: str, paths: list[str] | None = None, **more: Any) -> dict[str, Any]:
    where: dict[str, Any] = {"where": {"paths": paths}} if paths else {}
    return {"effect": "allow", "operations": list(operations), **where, **more}


def test_a_call_is_one_json_document_for_programs(cli: Cli) -> None:
    ran = cli("call", "access.whoami", "--json")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.document["status"] == "done"
    assert ran.document["output"]["id"] == "owner"


def test_a_call_is_lines_for_people(cli: Cli) -> None:
    ran = cli("call", "access.whoami", "--input", "{}")
    assert ran.code == 0
    assert ran.out.startswith("done  access.whoami in 0.")
    assert "\nroles         owner, instance-owner\n" in ran.out
    assert "\x1b" not in ran.out  # no colour where nobody looks


def test_a_mistyped_operation_is_answered_with_what_it_may_have_meant(cli: Cli) -> None:
    for command in (("call", "files.raed"), ("describe", "files.raed"), ("describe", "files_read")):
        ran = cli(*command, "--json")
        assert (ran.code, ran.document["type"]) == (1, "/problems/not-found")
        assert "did you mean `files.read`" in ran.document["hint"]


@pytest.mark.parametrize("typed", ["serve", "run", "start"])
def test_what_up_is_called_elsewhere_leads_to_it(cli: Cli, typed: str) -> None:
    ran = cli(typed)
    assert (ran.code, "did you mean up?" in ran.err) == (2, True)


def test_input_comes_from_a_file_or_from_standard_input(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"name": "files.read"}')
    for ran in (
        cli("call", "catalogue.describe", "-f", str(tmp_path / "input.json"), "--json"),
        cli("call", "catalogue.describe", "-f", "-", "--json", stdin=b'{"name": "files.read"}\n'),
    ):
        assert ran.document["output"]["name"] == "files.read"


def test_every_operation_is_a_command_with_flags(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    planned = cli("files", "write", str(path), "--content", "one\n", "--dry-run", "--json")
    assert (planned.code, planned.document["status"], path.exists()) == (0, "previewed", False)
    written = cli("files", "write", str(path), "--content", "one\n", "--reason", "a test", "--json")
    assert (written.code, path.read_text()) == (0, "one\n")
    read = cli("files.read", str(path), "--max-bytes", "3", "--json")
    assert (read.code, read.document["output"]["content"]) == (0, "one")


def test_a_change_shows_what_it_did_and_how_to_take_it_back(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("one\n")
    shown = cli("files", "write", str(path), "--content", "two\n")
    undo = next(line for line in shown.out.splitlines() if line.startswith("undo until "))
    plan = cli(*undo.partition("superagent ")[2].split(), "--dry-run")
    assert plan.code == 0
    assert plan.out.startswith("previewed")
    assert "would take back 1 change" in plan.out
    assert "-two" in plan.out
    assert path.read_text() == "two\n"
    assert cli(*undo.partition("superagent ")[2].split()).code == 0
    assert path.read_text() == "one\n"


def test_a_session_and_everything_since_a_time_are_undone_as_a_whole(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli("files", "write", str(tmp_path / name), "--content", "x", "--session", tmp_path.name).code == 0
    assert cli("undo", "--session", tmp_path.name).code == 0
    assert list(tmp_path.iterdir()) == []
    plan = cli("undo", "--since", "1s", "--dry-run", "--json")
    assert plan.code in (0, 1)  # whether anything is that young depends on the machine; that a time is read does not
    assert plan.document["type" if plan.code else "status"] in (
        "previewed",
        "/problems/not-found",
        "/problems/conflict",
    )


def test_undo_itself_can_be_looked_at_by_its_operations(cli: Cli) -> None:
    assert cli("undo", "list", "--json").document["operation"] == "undo.list"


def test_the_same_key_does_it_once(cli: Cli, tmp_path: Path) -> None:
    first, second = (
        cli("files", "write", str(tmp_path / "a"), "--content", "x", "--key", tmp_path.name, "--json") for _ in "12"
    )
    assert first.document["invocation"] == second.document["invocation"]


def test_what_failed_says_so_with_code_1(cli: Cli, tmp_path: Path) -> None:
    ran = cli("files", "read", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (1, "")
    assert "does not exist" in ran.err
    assert "nothing was changed" in ran.err
    told = cli("files", "read", str(tmp_path / "none"), "--json")
    assert (told.code, told.document["status"], told.document["type"]) == (1, 404, "/problems/not-found")


def test_an_input_that_does_not_fit_names_each_fault(cli: Cli) -> None:
    ran = cli("call", "files.read", "--input", '{"pth": 1}')
    assert ran.code == 1
    assert "  $.pth  " in ran.err
    assert "hint  see `superagent describe files.read`" in ran.err


def test_what_is_denied_says_so_with_code_3(cli: Cli, agent: Agent, tmp_path: Path) -> None:
    key = agent(
        allow("files.read", "files.write", paths=["/nowhere/**"]), allow("files.read", paths=[f"{tmp_path}/**"])
    )
    ran = cli("call", "files.write", "--input", json.dumps({"path": f"{tmp_path}/a", "content": ""}), key=key)
    assert ran.code == 3
    assert "denied" in ran.err


def test_a_key_that_is_none_is_denied(cli: Cli) -> None:
    ran = cli("call", "access.whoami", "--json", key="sak_nothing")
    assert (ran.code, ran.document["status"]) == (3, 401)


def test_a_key_that_was_chosen_is_used_and_not_the_owners(cli: Cli, agent: Agent, tmp_path: Path) -> None:
    key = agent(allow("access.whoami"))
    (tmp_path / "key").write_text(f"{key}\n")
    assert cli("call", "access.whoami", "--json", key=key).document["output"]["kind"] == "agent"
    by_file = cli("call", "access.whoami", "--json", "--api-key-file", str(tmp_path / "key"), key="sak_other")
    assert by_file.document["output"]["kind"] == "agent"


def test_a_call_that_must_be_approved_waits_with_code_4_and_runs_when_it_is(
    cli: Cli, agent: Agent, tmp_path: Path
) -> None:
    ask = allow("files.write", paths=[f"{tmp_path}/**"]) | {"effect": "ask", "require": {"approvals": 1}}
    input = json.dumps({"path": f"{tmp_path}/a", "content": "approved"})
    asked = cli("call", "files.write", "--input", input, "--reason", "because", key=agent(ask))
    assert asked.code == 4
    id = asked.out.split()[-1]
    assert f"superagent approvals approve {id}" in asked.out
    listed = cli("approvals")
    assert id in listed.out
    assert "because" in listed.out
    assert not (tmp_path / "a").exists()
    assert cli("approvals", "approve", id, "--reason", "fine").code == 0
    watched = cli("watch", id)
    assert (watched.code, (tmp_path / "a").read_text()) == (0, "approved")
    assert watched.out.startswith("done  files.write")


@pytest.mark.slow
def test_one_request_is_shown_with_who_asks_for_what_and_what_it_would_do(
    cli: Cli, agent: Agent, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_text("before\n")
    ask = allow("files.write", paths=[f"{tmp_path}/**"]) | {"effect": "ask"}
    key = agent(ask, allow("approvals.show", "access.whoami"))
    input = json.dumps({"path": str(path), "content": "after\x1b[2J\n"})
    name = cli("call", "access.whoami", "--json", key=key).document["output"]["id"]
    id = cli("call", "files.write", "--input", input, "--reason", "because", "--json", key=key).document["invocation"]

    shown = cli("approvals", "show", id)

    assert shown.code == 0
    lines = {line.partition(" ")[0]: line for line in shown.out.splitlines()}
    assert lines["id"].split()[1] == id
    assert lines["operation"].split()[1] == "files.write"
    assert lines["requester"].split()[1] == name
    assert lines["on_behalf_of"].split()[1] == "owner"
    assert lines["reason"].split()[1] == "because"
    assert lines["resources"].endswith(f"CHANGE path://local{path}")
    assert "\npreview:\n" in shown.out
    assert "\n-before\n" in shown.out
    assert "\n+after\\x1b[2J\n" in shown.out  # what would be written cannot steer the terminal of who decides
    assert "\x1b" not in shown.out
    assert path.read_text() == "before\n"
    document = cli("approvals", "show", id, "--json").document["output"]
    assert document["input"] == json.loads(input)
    assert "-before" in document["preview"]["diff"]
    own = cli("approvals", "show", id, "--json", key=key).document["output"]
    assert (own["id"], own["preview"], own["hash"]) == (id, None, "")  # it may perhaps not read what stands there
    stranger = agent(allow("approvals.show"))
    assert "waits for approval" in cli("approvals", "show", id, key=stranger).err
    assert cli("approvals", "deny", id).code == 0
    gone = cli("approvals", "show", id)
    assert (gone.code, gone.out) == (1, "")
    assert "jobs.status" in gone.err


@pytest.mark.slow
def test_the_list_of_requests_stays_a_table(cli: Cli, agent: Agent, tmp_path: Path) -> None:
    ask = allow("files.write", paths=[f"{tmp_path}/**"]) | {"effect": "ask"}
    key = agent(ask)
    ids = [
        cli("files", "write", f"{tmp_path}/{name}", "--content", "x\n", "--json", key=key).document["invocation"]
        for name in ("a", "b")
    ]
    for listed in (cli("approvals"), cli("approvals", "list")):
        assert listed.code == 0
        head = next(line for line in listed.out.splitlines() if line.startswith("id "))
        assert head.split()[:3] == ["id", "operation", "requester"]
        assert [line for line in listed.out.splitlines() if line.startswith(tuple(ids))]
        assert "preview" not in listed.out
    for id in ids:
        cli("approvals", "deny", id)


@pytest.mark.parametrize(
    "grant", ["{", "[]", '{"effect": "perhaps", "operations": ["files.*"]}', '{"effect": "allow"}']
)
def test_a_grant_on_the_command_line_is_json_or_refused(cli: Cli, grant: str) -> None:
    ran = cli("keys", "create", "never", "--grant", grant)
    assert ran.code in (1, 2)
    assert "never" not in cli("keys").out


def test_a_call_that_is_not_approved_has_failed(cli: Cli, agent: Agent, tmp_path: Path) -> None:
    ask = allow("files.write", paths=[f"{tmp_path}/**"]) | {"effect": "ask", "require": {"approvals": 1}}
    input = json.dumps({"path": f"{tmp_path}/a", "content": ""})
    id = cli("call", "files.write", "--input", input, "--json", key=agent(ask)).document["invocation"]
    waiting = cli("jobs", "status", id, "--json")
    assert waiting.document["output"]["status"] == "waiting"
    denied = cli("approvals", "deny", id, "--reason", "not there")
    assert (denied.code, "a decision is final" in denied.out) == (0, True)
    watched = cli("watch", id)
    assert watched.code == 3
    assert "owner denied this call: not there" in watched.err
    assert "change it, or talk to owner" in watched.err


def test_the_audit_shows_what_happened_and_goes_into_a_file(cli: Cli, tmp_path: Path) -> None:
    assert "access.whoami" in cli("call", "access.whoami").out
    assert "access.whoami" in cli("audit", "query", "--operation", "access.whoami", "--since", "1h", "--limit", "5").out
    assert cli("audit", "verify").out.startswith("done  audit.verify")
    saved = cli("audit", "export", "--operation", "access.whoami", "--save", str(tmp_path / "out.jsonl"))
    assert (saved.code, saved.out.splitlines()[-1]) == (0, f"saved in {tmp_path / 'out.jsonl'}")
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert records
    assert {one["operation"] for one in records} == {"access.whoami"}
    piped = cli("audit", "export", "--operation", "access.whoami", "--save", "-")
    assert piped.out.startswith((tmp_path / "out.jsonl").read_text()[:40])


def test_saving_says_when_there_is_nothing_to_save_or_no_place(cli: Cli, tmp_path: Path) -> None:
    ran = cli("call", "access.whoami", "--save", str(tmp_path / "out"))
    assert ran.code == 0
    assert "there is no stored result" in ran.err
    lost = cli("audit", "export", "--operation", "access.whoami", "--save", str(tmp_path / "no" / "out"))
    assert lost.code == 2
    assert "superagent result read" in lost.err


def test_settings_are_listed_and_written(cli: Cli) -> None:
    assert "server.port" in cli("settings").out
    written = cli("settings", "set", "log.level", "warning", "--json")
    assert written.document["output"] == {"name": "log.level", "value": "warning", "restart": True}
    assert cli("settings", "set", "log.level", "null").code == 0


def test_keys_are_made_listed_and_revoked(cli: Cli) -> None:
    made = cli("keys", "create", "builder", "--role", "agent", "--expires", "30d", "--json").document["output"]
    assert made["expires_at"] > 0
    assert made["id"] in cli("keys", "list").out
    assert cli("keys", "revoke", made["id"]).code == 0
    assert cli("call", "access.whoami", key=made["key"]).code == 3


@pytest.mark.slow
def test_the_catalogue_is_searched_and_described(cli: Cli) -> None:
    assert "files.delete" in cli("ops").out
    assert cli("ops", "search", "delete", "file").out.splitlines()[1].startswith("files.delete")
    assert cli("ops", "delete", "--json").document["operations"]
    assert "nothing fits" in cli("ops", "xyzzy").err
    described = cli("describe", "files.read")
    assert "usage: superagent files read PATH [flags]" in described.out
    assert cli("describe", "files.read", "--json").document["input_schema"]["required"] == ["path"]
    assert "--max-bytes" in cli("files", "read", "--help").out
    assert cli("describe", "files.none").code == 1


def test_a_domain_lists_its_commands_and_a_wrong_one_the_likeliest(cli: Cli) -> None:
    assert "files.read" in cli("files", "--help").out
    assert cli("files", "--help", "--json").document["operations"]
    alone = cli("files")
    assert (alone.code, "files read" in alone.err) == (2, True)
    wrong = cli("file", "read", "x")
    assert (wrong.code, "did you mean files read," in wrong.err) == (2, True)
    assert "superagent --help" in cli("xyzzy").err


def test_describing_a_domain_lists_what_it_has(cli: Cli) -> None:
    described = cli("describe", "shell")
    assert (described.code, "shell.session_send" in described.out) == (0, True)
    names = [one["name"] for one in cli("describe", "files", "--json").document["operations"]]
    assert "files.read" in names
    assert all(one.startswith("files.") for one in names)
    assert "usage: superagent shell session_send SESSION [INPUT]" in cli("describe", "shell.session_send").out
    assert "usage: superagent shell start [COMMAND]" in cli("describe", "shell.start").out
    assert "usage: superagent code run [PATH]" in cli("describe", "code.run").out
    assert "usage: superagent shell exec ARGV … " in cli("describe", "shell.exec").out


def test_what_is_typed_into_a_session_needs_no_flag(cli: Cli) -> None:
    sent = cli("shell", "session-send", "ses_none", "ls")
    assert (sent.code, "ses_none" in sent.err) == (1, True)
    assert "seen by every program" in cli("shell", "session-send", "ses_none", "ls", "hunter2").err


def test_a_field_that_nobody_knows_is_answered_with_the_one_it_is_like(cli: Cli) -> None:
    wrong = cli("call", "files.write", "--input", '{"path": "a", "contents": "x"}')
    assert "$.contents  there is no such field; did you mean `content`?" in wrong.err
    assert "did you mean --content?" in cli("files", "write", "a", "--contents", "x").err


def test_a_deadline_is_kept(cli: Cli) -> None:
    assert cli("call", "access.whoami", "--deadline", "5m").code == 0


@pytest.mark.parametrize("flag", [["--reason", "größer ✓"], ["--session", "é"]])
def test_texts_beside_the_input_may_have_any_letters(cli: Cli, flag: list[str]) -> None:
    assert cli("call", "access.whoami", *flag).code == 0


def test_a_command_that_failed_inside_fails_the_command_line(cli: Cli) -> None:
    program("bwrap", "bubblewrap")
    for script, code in (("exit 0", 0), ("exit 7", 1)):
        ran = cli("shell", "run", script, "--json")
        assert (ran.code, ran.document["status"], ran.document["output"]["exit_code"]) == (
            code, "done", int(script[-1]),
        )  # fmt: skip
    assert cli("shell", "run", "sleep 60", "--limits", '{"wall_s": 0.5}', "--json").code == 1


ENDED: dict[str, Any] = {"exit_code": 0, "limit": None}
FORMATTED: dict[str, Any] = {"changed": [], "unchanged": 1, "failed": [], "written": False}
SNIPPET: dict[str, Any] = {"session": "ses_1", "error": None, "ended": None}


@pytest.mark.parametrize(
    ("status", "output", "code"),
    [
        ("done", ENDED, 0),
        ("done", ENDED | {"exit_code": 130}, 1),
        ("done", ENDED | {"exit_code": None}, 1),  # ended from outside
        ("done", ENDED | {"limit": "output"}, 1),
        ("done", {"exit_code": 130, "session": "ses_1"}, 0),  # the shell goes on
        ("done", SNIPPET, 0),
        ("done", SNIPPET | {"ended": "exited"}, 0),
        ("done", SNIPPET | {"ended": "memory"}, 1),
        ("done", SNIPPET | {"error": {"type": "ZeroDivisionError"}}, 1),
        ("done", {"session": "ses_1", "ended": "closed"}, 0),
        ("done", {"failed": 0, "said": ENDED}, 0),
        ("done", {"failed": 1, "said": ENDED | {"exit_code": 1}}, 1),
        ("done", {"failed": 0, "said": ENDED | {"limit": "wall"}}, 1),
        ("done", {"diagnostics": [], "said": ENDED}, 0),
        ("done", {"diagnostics": [{"rule": "F401"}], "said": ENDED}, 1),  # some linters end with 0 in spite of it
        ("done", FORMATTED, 0),
        ("done", FORMATTED | {"changed": [{"file": "a.py"}], "written": True}, 0),
        ("done", FORMATTED | {"changed": [{"file": "a.py"}]}, 1),  # it was only to check
        ("done", FORMATTED | {"failed": [{"file": "b.py", "why": "it does not parse"}]}, 1),
        ("done", {"said": "a text", "conflicts": ["a"]}, 0),
        ("previewed", {"conflicts": []}, 0),
        ("previewed", {"conflicts": ["it exists already"]}, 1),
        ("previewed", {"conflicts": [], "exit_code": 4, "limit": None}, 1),  # what was rehearsed
        ("waiting", {}, 4),
    ],
)
def test_the_exit_code_says_what_came_of_what_ran(status: str, output: dict[str, Any], code: int) -> None:
    assert Answer(200, {"status": status, "output": output}).exit_code == code


FAILING = """import unittest
class T(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.fail()
"""


@pytest.mark.slow
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_failed_tests_findings_and_exceptions_fail_the_command_line(cli: Cli, json: list[str]) -> None:
    program("bwrap", "bubblewrap")
    program("shfmt")
    files = (("test_it.py", FAILING), ("good.sh", "true\n"), ("bad.sh", "if true\n"), ("wide.sh", "true   x\n"))
    for name, content in files:
        assert cli("files", "write", name, "--content", content).code == 0
    for command, code in (
        (("code", "test", "test_it.py"), 1),
        (("code", "test", "test_it.py", "--selector", "test_good"), 0),
        (("code", "lint", "bad.sh", "--tool", "bash-syntax"), 1),
        (("code", "lint", "good.sh", "--tool", "bash-syntax"), 0),
        (("code", "format", "good.sh", "--check"), 0),
        (("code", "format", "wide.sh", "--check"), 1),
        (("code", "format", "bad.sh"), 1),
        (("code", "format", "wide.sh"), 0),
        (("code", "repl", "1/0"), 1),
        (("code", "repl", "1"), 0),
    ):
        assert cli(*command, *json).code == code, command


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_dry_run_that_shows_a_conflict_fails_the_command_line(cli: Cli, tmp_path: Path, json: list[str]) -> None:
    path = tmp_path / "notes.txt"
    written = cli("files", "write", str(path), "--content", "one\n", "--json").document["invocation"]
    path.write_text("somebody else\n")

    plan = cli("undo", written, "--dry-run", *json)
    create = cli("files", "write", str(path), "--content", "two\n", "--create-only", "--dry-run", *json)

    assert (plan.code, create.code) == (1, 1)
    assert f"would be refused: path://local{path}: somebody changed it since; nothing would be taken back" in plan.out
    assert cli("undo", written).code == 1
    assert path.read_text() == "somebody else\n"
