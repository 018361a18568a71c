"""The probe sees what it claims: everything holds in the sandbox, and nothing does without one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from superagent.core.commands import Ended
from superagent.core.containment import Isolation
from superagent.core.grants import IsolationLevel
from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox import probe as module
from superagent.runtime.sandbox.backend import Probe, Start
from superagent.runtime.sandbox.probe import KINDS, canary, examine, parts_of
from tests.runtime.sandbox.here import USER, here

OUTSIDE = {kind: f"{kind}:[1]" for kind in KINDS}
HELD = "".join(f"ns-{kind} {kind}:[2]\n" for kind in KINDS) + (
    "NoNewPrivs 1\nSeccomp 2\nCapEff 0000000000000000\nCapBnd 0000000000000000\n"
    "canary closed\ninside writable\nconnect refused\n"
)


class BareRun:
    """A command that nothing contains."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.isolation = Isolation("none", "bare", {"memory": "none"})

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def memory(self) -> int:
        return -1

    async def wait(self) -> Ended:
        return Ended(await asyncio.to_thread(self._process.wait, 60))

    async def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self, why: str = "") -> None:
        if self._process.poll() is None:
            self._process.kill()


class Bare:
    """A back end without any containment: the positive control of every part of the probe."""

    level: IsolationLevel = "none"
    name = "bare"

    async def probe(self) -> Probe:
        return await examine(self, None, filtered=True)

    async def start(self, start: Start) -> BareRun:
        process = subprocess.Popen(
            start.argv, stdin=start.stdin, stdout=start.stdout, stderr=start.stderr, env={**os.environ, **start.env}
        )
        return BareRun(process)


async def test_in_the_sandbox_everything_holds(tmp_path: Path) -> None:
    async with here(tmp_path) as one:
        probe = await one.native.probe()

    assert probe.works, probe.failed
    assert [part.name for part in probe.parts] == [
        "namespaces", "no new privileges", "capabilities", "files outside", "writes outside", "workspace", "network",
        "system calls", "memory limit",
    ]  # fmt: skip
    assert probe.limits["wall"] == "enforced"
    assert not list(Path(tempfile.gettempdir()).glob(f"superagent-probe-{os.getpid()}-*"))


async def test_without_a_sandbox_each_part_is_seen_to_fail() -> None:
    probe = await Bare().probe()

    failed = {part.name for part in probe.parts if not part.holds}
    expected = {"namespaces", "no new privileges", "files outside", "network", "memory limit", "system calls"}
    if os.geteuid() == 0:
        expected |= {"capabilities", "writes outside"}
    assert expected <= failed
    assert all(part.cure for part in probe.parts if not part.holds)
    assert not Path("/superagent-probe").exists()


def test_what_was_seen_is_read_part_by_part() -> None:
    assert all(part.holds for part in parts_of(HELD, OUTSIDE, filtered=True))


@pytest.mark.parametrize(
    ("line", "instead", "name"),
    [
        ("ns-net net:[2]", "ns-net net:[1]", "namespaces"),
        ("ns-pid pid:[2]", "", "namespaces"),
        ("NoNewPrivs 1", "NoNewPrivs 0", "no new privileges"),
        ("CapEff 0000000000000000", "CapEff 0000000000000001", "capabilities"),
        ("CapBnd 0000000000000000", "CapBnd 000001ffffffffff", "capabilities"),
        ("CapEff 0000000000000000", "", "capabilities"),
        ("canary closed", "canary readable", "files outside"),
        ("canary closed", "", "files outside"),
        ("connect refused", "connect open", "network"),
        ("inside writable", "", "workspace"),
        ("inside writable", "inside writable\noutside /usr\noutside /etc", "writes outside"),
        ("Seccomp 2", "Seccomp 0", "system calls"),
    ],
)
def test_each_thing_that_does_not_hold_is_named_with_its_cure(line: str, instead: str, name: str) -> None:
    parts = parts_of(HELD.replace(line, instead), OUTSIDE, filtered=True)

    failed = [part for part in parts if not part.holds]
    assert [part.name for part in failed] == [name]
    assert failed[0].cure


def test_without_a_filter_the_calls_are_not_looked_at() -> None:
    assert all(part.holds for part in parts_of(HELD.replace("Seccomp 2", "Seccomp 0"), OUTSIDE, filtered=False))


async def test_a_sandbox_that_does_not_start_is_told_with_what_was_said() -> None:
    class Broken(Bare):
        async def start(self, start: Start) -> BareRun:
            process = subprocess.Popen(
                ["sh", "-c", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1"],
                stdin=start.stdin,
                stdout=start.stdout,
                stderr=start.stderr,
            )
            return BareRun(process)

    probe = await examine(Broken(), None, filtered=False)

    assert probe.failed is not None
    assert "No permissions to create new namespace" in probe.failed.seen
    assert probe.failed.cure


async def test_a_sandbox_that_is_refused_is_told_with_the_reason_and_the_hint() -> None:
    class Refusing(Bare):
        async def start(self, start: Start) -> BareRun:
            raise SandboxUnavailable("no launcher", hint="start one")

    probe = await examine(Refusing(), None, filtered=False)

    assert probe.failed is not None
    assert (probe.failed.seen, probe.failed.cure) == ("no launcher", "start one")


async def test_canaries_that_cannot_be_set_up_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "mkdtemp", full)

    probe = await examine(Bare(), None, filtered=False)

    assert not probe.works
    assert probe.failed is not None
    assert "No space" in probe.failed.seen


def test_what_a_killed_probe_left_behind_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    top = Path(tempfile.gettempdir())
    mine = top / f"superagent-probe-{os.getpid()}-1-left"  # this number, begun at another time: it is dead
    odd = top / "superagent-probe-of-somebody"
    for place in (mine, odd):
        (place / "workspace").mkdir(parents=True, exist_ok=True)

    with canary(USER) as bird:
        assert bird.file.read_text() == "a canary"
        assert not mine.exists()
        module.sweep()  # by another worker, meanwhile
        assert bird.folder.exists()

    assert odd.exists()
    (odd / "workspace").rmdir()
    odd.rmdir()
