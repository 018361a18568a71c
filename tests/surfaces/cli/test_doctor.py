"""The doctor looks for itself, and names the cure for what it does not find."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from superagent.surfaces.cli import doctor
from superagent.surfaces.cli.target import Answer, Refused
from tests.ordinary_user import open_folder, ordinary_user
from tests.surfaces.cli.command_line import Server
from tests.surfaces.cli.conftest import Cli

NOW = 1_800_000_000.0


def test_a_sound_installation_is_told_so(cli: Cli) -> None:
    cli("call", "access.whoami")
    ran = cli("doctor")
    names = {line.split("  ")[0].strip("✓!✗ ") for line in ran.out.splitlines()}
    assert ran.code == 0, ran.out
    assert {
        "python",
        "data folder",
        "state",
        "state/owner.key",
        "disk",
        "clock",
        "lock",
        "calls",
        "audit",
        "files",
    } <= names
    assert cli("doctor", "--json").document["ok"] is True


def test_what_is_missing_comes_with_its_cure(cli: Cli) -> None:
    found = {one["name"]: one for one in cli("doctor", "--json").document["findings"]}
    assert found["sandbox"]["standing"] == "ok" or found["sandbox"]["cure"]


def test_a_named_server_is_asked_about_itself_only(run_here: Cli, server: Server) -> None:
    ran = run_here("--server", server.address, "doctor", "--json", key=server.owner_key)
    names = {one["name"] for one in ran.document["findings"]}
    assert "calls" in names
    assert "disk" not in names


def test_a_server_that_does_not_answer_is_wrong(run_here: Cli) -> None:
    ran = run_here("--server", "http://127.0.0.1:1", "doctor", key="sak_1")
    assert ran.code == 1
    assert "cannot be reached" in ran.out
    assert "cure" in ran.out


def test_a_folder_in_which_nothing_is_set_up_is_wrong_and_stays_so(run_here: Cli, tmp_path: Path) -> None:
    for _ in range(2):
        ran = run_here("--data", str(tmp_path / "a" / "b"), "doctor", "--json")
        found = {one["name"]: one for one in ran.document["findings"]}
        assert (ran.code, found["data folder"]["standing"]) == (1, "wrong")
        assert str(tmp_path / "a" / "b") in found["data folder"]["detail"]
        assert "superagent up" in found["data folder"]["cure"]
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_wrong() -> None:
    with open_folder() as folder:
        folder.chmod(0o555)
        with ordinary_user():
            found = doctor.folder(folder)
    assert (found.standing, "Permission denied" in found.detail) == ("wrong", True)


def test_secrets_that_others_can_reach_are_wrong(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert list(doctor.state(state)) == []
    state.mkdir(mode=0o755)
    (state / "owner.key").symlink_to("/nowhere")
    opened, linked = doctor.state(state)
    assert (opened.standing, opened.cure) == ("wrong", f"chmod 700 {state}")
    assert (linked.name, linked.standing, linked.detail) == ("state/owner.key", "wrong", "it is a link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_secrets_of_another_user_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 65534, 65534)
    (found,) = doctor.state(tmp_path / "state")
    assert (found.standing, "user 65534 owns it" in found.detail) == ("wrong", True)


@pytest.mark.parametrize(("free", "standing"), [(2**20, "wrong"), (2**29, "note"), (2**40, "ok")])
def test_the_room_on_the_disk_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, standing: str
) -> None:
    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    found = doctor.disk(tmp_path / "not" / "there")
    assert (found.standing, bool(found.cure)) == (standing, standing != "ok")


def test_a_clock_that_runs_behind_the_audit_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "segment").touch()
    os.utime(tmp_path / "audit" / "segment", (NOW, NOW))
    assert doctor.clock(tmp_path, NOW + 1).standing == "ok"
    behind = doctor.clock(tmp_path, NOW - 60)
    assert (behind.standing, "60 s after" in behind.detail) == ("wrong", True)


def test_a_lock_that_others_could_have_written_is_wrong(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert doctor.holding(tmp_path).standing == "wrong"


def test_an_old_python_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert doctor.python().standing == "wrong"


def test_a_kernel_without_openat2_is_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("superagent.runtime.system_calls.openat2", refuse)
    found = doctor.opening()
    assert (found.standing, "Function not implemented" in found.detail) == ("note", True)


def test_libraries_of_extras_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] | None = ["pydantic>=2", "no-such-thing[x]>=1; extra == 'far'", "pydantic>=2; extra == 'near'"]

    def requires(_: str) -> list[str] | None:
        return wanted

    monkeypatch.setattr(doctor, "requires", requires)
    (found,) = doctor.extras()
    assert (found.name, found.detail, found.cure) == (
        "extra far",
        "no-such-thing not installed",
        "pip install 'superagent[far]'",
    )
    wanted = None
    assert list(doctor.extras()) == []


AUDITS: list[tuple[Answer, str, str]] = [
    (
        Answer(200, {"status": "done", "output": {"ok": True, "records": 3, "checkpoints": 1}}),
        "ok",
        "3 records",
    ),
    (
        Answer(200, {"status": "done", "output": {"ok": False, "faults": [{"kind": "line-changed", "seq": 2}]}}),
        "wrong",
        "1 faults; the first: {'kind': 'line-changed', 'seq': 2}",
    ),
    (Answer(403, {"detail": "you may not", "hint": "ask"}), "wrong", "you may not"),
]


def test_an_anchor_that_does_not_fit_comes_with_its_cure() -> None:
    fault, told = {"kind": "anchor", "seq": 7}, "the anchor saw checkpoint 9"
    output = {"ok": False, "faults": [fault], "unanchored": told}
    log, anchor = doctor.audit(Answer(200, {"status": "done", "output": output}))
    assert (log.standing, anchor.standing, anchor.detail) == ("wrong", "wrong", told)
    assert "move it to a safe place" in log.cure


@pytest.mark.parametrize(("answer", "standing", "detail"), AUDITS)
def test_an_audit_that_was_touched_is_wrong(answer: Answer, standing: str, detail: str) -> None:
    (found,) = doctor.guarded("audit", lambda: doctor.audit(answer))
    assert (found.standing, detail in found.detail) == (standing, True)


def test_a_refusal_that_had_to_be_none_is_raised() -> None:
    assert str(Refused(Answer(403, {"detail": "no"}))) == "no"
