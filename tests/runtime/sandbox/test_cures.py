"""What to do when no sandbox can be set up: by what was said, and by how the machine is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from superagent.runtime.sandbox.cures import Machine, cure_of

NO_NAMESPACE = "No permissions to creating new namespace, likely because the kernel does not allow non-privileged user"
APPARMOR = Machine({"kernel/apparmor_restrict_unprivileged_userns": "1", "user/max_user_namespaces": "9000"})


@pytest.mark.parametrize(
    ("said", "machine", "word"),
    [
        (NO_NAMESPACE, Machine({"user/max_user_namespaces": "0"}), "user.max_user_namespaces"),
        (NO_NAMESPACE, Machine({"kernel/unprivileged_userns_clone": "0"}), "unprivileged_userns_clone"),
        ("setting up uid map: Permission denied", APPARMOR, "AppArmor"),
        ("loopback: Failed RTM_NEWADDR: Operation not permitted", APPARMOR, "AppArmor"),
        (NO_NAMESPACE, Machine(container=True), "seccomp=unconfined"),
        ("Can't mount proc on /newroot/proc: Operation not permitted", Machine(container=True), "systempaths"),
        (NO_NAMESPACE, Machine(), "log"),
        ("the launcher refused: [Errno 22] Invalid argument", Machine(users=65_536), "sandbox.first_user"),
    ],
)
def test_each_cause_has_its_cure(said: str, machine: Machine, word: str) -> None:
    assert word in cure_of(said, machine)


def test_nobody_is_told_to_switch_a_protection_off() -> None:
    cure = cure_of(NO_NAMESPACE, APPARMOR)

    assert "sysctl" not in cure
    assert "bwrap" in cure


def test_of_what_is_not_known_nothing_is_said() -> None:
    assert cure_of("something odd", Machine()) == ""
    assert cure_of("Invalid argument", Machine()) == ""


def test_a_machine_is_looked_at(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "sys/user").mkdir(parents=True)
    (proc / "sys/user/max_user_namespaces").write_text("5\n")
    (proc / "self").mkdir()
    (proc / "self/uid_map").write_text("         0     100000      65536\n")
    (tmp_path / ".dockerenv").touch()

    found = Machine.here(proc, tmp_path)

    assert found == Machine({"user/max_user_namespaces": "5"}, True, 65_536)


def test_a_machine_that_tells_nothing_is_taken_as_an_ordinary_one(tmp_path: Path) -> None:
    assert Machine.here(tmp_path, tmp_path) == Machine()
