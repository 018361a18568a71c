"""The request for a container, and the marks by which it is found again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Probe, Start
from superagent.runtime.sandbox.containers.backend import enforced
from superagent.runtime.sandbox.containers.engine import Engine
from superagent.runtime.sandbox.containers.leftovers import Marks
from superagent.runtime.sandbox.containers.request import HIDDEN, Inside, body
from superagent.runtime.sandbox.levels import told
from superagent.settings import Sandbox
from tests.runtime.sandbox.here import PROFILE

START = Start(("prog", "arg"), PROFILE, "t", workspace="/srv/w")
ROOTLESS = {"MemoryLimit": False, "SwapLimit": False, "PidsLimit": False, "CpuCfsQuota": False}


def asked(start: Start = START, **given: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "user": "5:5", "filter": "{}", "labels": {}, "stdin": False, "handed": {}, "counts_processes": True, **given,
    }  # fmt: skip
    return body(start, Inside("image", init=("/init", "--")), **fields)


def test_nothing_that_a_caller_says_becomes_part_of_a_shells_text() -> None:
    start = Start(("$(id)", "; id"), PROFILE, "t")

    found = asked(start, handed={9: "/state/file"})

    assert [*found["Entrypoint"], *found["Cmd"]] == [
        "/init", "--", "/bin/sh", "-c", 'exec 9</run/superagent/9 && exec "$@"', "sh", "$(id)", "; id",
    ]  # fmt: skip


def test_only_numbers_that_a_shell_knows_are_handed_over() -> None:
    for number in (0, 2, 10):
        with pytest.raises(SandboxUnavailable, match="3 to 9"):
            asked(handed={number: "/state/file"})


def test_podman_is_told_otherwise_what_to_hide() -> None:
    docker, podman = (asked(podman=one)["HostConfig"]["SecurityOpt"] for one in (False, True))

    assert docker == ["no-new-privileges:true", "seccomp={}"]
    assert podman == [*docker, f"mask={':'.join(HIDDEN)}"]


def test_where_processes_are_not_counted_the_systems_own_count_holds() -> None:
    host = asked(counts_processes=False)["HostConfig"]

    assert {"Name": "nproc", "Soft": PROFILE.limits.processes, "Hard": PROFILE.limits.processes} in host["Ulimits"]
    assert host["PidsLimit"] == 0


def test_a_kernel_of_its_own_needs_no_filter_and_more_threads() -> None:
    host = asked(filter=None, runtime="runsc", spare_processes=96)["HostConfig"]

    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["Runtime"], host["PidsLimit"]) == ("runsc", PROFILE.limits.processes + 96)


def test_without_a_workspace_nothing_is_mounted() -> None:
    assert asked(Start(("x",), PROFILE, "t"))["HostConfig"]["Mounts"] == []


def test_what_an_engine_cannot_limit_is_not_claimed() -> None:
    all_of_it = enforced(dict.fromkeys(ROOTLESS, True), filtered=True, own_kernel=False)
    nothing = enforced(ROOTLESS, filtered=False, own_kernel=False)
    no_swap = enforced({**ROOTLESS, "MemoryLimit": True}, filtered=True, own_kernel=False)
    other = enforced(dict.fromkeys(ROOTLESS, True), filtered=False, own_kernel=True)

    assert {name for name, how in all_of_it.items() if how != "enforced"} == {"disk", "devices"}
    assert (nothing["memory"], nothing["cpus"], nothing["system_calls"]) == ("none", "none", "none")
    assert (nothing["processes"], nothing["cpu"]) == ("partial", "partial")
    assert no_swap["memory"] == "partial"
    assert (other["processes"], other["cpus"], other["system_calls"]) == ("partial", "partial", "none")


def test_a_back_end_that_works_says_what_it_does_not_limit() -> None:
    name, works, said, cure = told(Probe("container", "docker", (), {"memory": "enforced", "disk": "none"}))

    assert (name, works, cure) == ("sandbox.docker", True, "")
    assert said == "level container; not fully limited: disk none"


def test_a_text_that_is_kept_is_there_whole_and_closed_to_others(tmp_path: Path) -> None:
    marks = Marks("abc", tmp_path / "folder")

    paths = {marks.kept("filter.json", "{}") for _ in range(2)}

    assert paths == {str(tmp_path / "folder" / "filter.json")}
    assert (tmp_path / "folder" / "filter.json").read_text() == "{}"
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0


async def test_files_of_dead_processes_go_and_no_other_also_without_an_engine(tmp_path: Path) -> None:
    marks = Marks("abc", tmp_path)
    dead = tmp_path / f"superagent-abc-{os.getpid()}-1-0-9-00ff"  # the number lives on, in another process
    mine = tmp_path / f"{marks.name()}-9-00ff"
    for one in (dead, mine, tmp_path / "filter-unix.json"):
        one.touch()
    engine = Engine(str(tmp_path / "none"))

    assert await marks.sweep(engine) == 1

    assert sorted(tmp_path.iterdir()) == sorted([mine, tmp_path / "filter-unix.json"])
    await engine.close()


def test_a_back_end_that_nobody_knows_is_no_setting() -> None:
    with pytest.raises(ValueError, match="`lxc` is none of docker, podman, gvisor"):
        Sandbox(backends=["docker", "lxc"])
