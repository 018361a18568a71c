"""What a killed process leaves of its audit chain is brought to an end by the next one to start."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.audit import AuditRecord, decode_record, parse
from superagent.runtime.checkpoints import Checkpoints
from superagent.runtime.keys import FileKeys
from tests.promise import ROOT
from tests.runtime.audit_book import SMALL, a_log, check, record

FIRST = "n-w-01A"


def records(directory: Path) -> list[AuditRecord]:
    """Give the records of all chains, headers of segments left out."""
    lines = [line for path in sorted(directory.rglob("*.seg")) for line in path.read_bytes().splitlines(True)]
    texts = [parsed[0] for line in lines if (parsed := parse(line))]
    spoilt = (b"?", b'"who":7', b'"kind":"segment"')
    return [decode_record(text) for text in texts if not any(one in text for one in spoilt)]


def start_and_close(directory: Path, epoch: str) -> tuple[AuditRecord, ...]:
    """Let a process start and end; gives the intents that it found unfinished."""
    log = a_log(directory, epoch)
    log.start()
    asyncio.run(log.close())
    return log.unfinished()


@dataclass(frozen=True, slots=True)
class Left:
    """The files of a log whose process died in the middle, and how many of its bytes were signed."""

    files: dict[str, bytes]

    def lay_out(self, directory: Path) -> Path:
        for name, data in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(data)
            path.chmod(0o600)
        return directory / "audit"


@cache
def left_behind() -> Left:
    """Let a real process write calls 0 to 59, of which 50 to 59 have no outcome, and die."""
    program = f"""
import asyncio, os
from pathlib import Path
from tests.runtime.audit_book import a_log, record
async def main():
    log = a_log(Path({{folder!r}}) / "audit")
    log.start()
    for number in range(60):
        await log.durable(record(number, "intent"))
        if number < 50:
            await log.durable(record(number))
    os.kill(os.getpid(), {9})
asyncio.run(main())
"""
    with tempfile.TemporaryDirectory() as folder:
        run_python(["-c", program.format(folder=folder)], expected=-9)
        place = Path(folder)
        return Left({str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()})


def run_python(arguments: list[str], expected: int = 0) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, timeout=300, cwd=ROOT)
    assert done.returncode == expected, done.stderr.decode()


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    return left_behind().lay_out(tmp_path)


def last_segment(directory: Path) -> Path:
    return max((directory / FIRST).glob("*.seg"))


def test_intents_without_an_outcome_are_recorded_as_unknown(dead: Path) -> None:
    found = start_and_close(dead, "01B")
    assert sorted(one.invocation for one in found) == [f"call-{number}" for number in range(50, 60)]
    unknown = [one for one in records(dead) if one.status == "unknown"]
    assert sorted(one.invocation for one in unknown) == [f"call-{number}" for number in range(50, 60)]
    assert {(one.kind, one.changed, one.operation, one.who) for one in unknown} == {
        ("outcome", "unknown", "files.write", "agent:coder")
    }
    assert {one.detail["intent"]["chain"] for one in unknown} == {FIRST}
    report = check(dead)
    assert (report.ok, report.waiting, report.chains) == (True, (), 2)


def test_before_the_recovery_the_chain_waits_and_is_no_fault(dead: Path) -> None:
    report = check(dead)
    assert (report.ok, report.waiting) == (True, (FIRST,))


def test_what_was_recovered_once_is_not_recovered_again(dead: Path) -> None:
    assert start_and_close(dead, "01B")
    assert not start_and_close(dead, "01C")
    assert Counter(one.invocation for one in records(dead) if one.status == "unknown").most_common(1)[0][1] == 1


def test_a_recovering_process_that_dies_before_it_is_done_leaves_no_second_unknown(dead: Path) -> None:
    lock = (dead / FIRST / "lock").read_bytes()
    assert start_and_close(dead, "01B")
    for chain in (FIRST, "n-w-01B"):  # as if it had died after writing, before the locks were given up
        (dead / chain / "lock").write_bytes(lock)
    assert not start_and_close(dead, "01C")
    assert Counter(one.invocation for one in records(dead) if one.status == "unknown").most_common(1)[0][1] == 1
    assert check(dead).ok


def test_an_intent_still_open_at_an_orderly_end_is_unknown_to_the_next_process(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit", "01A")
    log.start()
    asyncio.run(log.durable(record(1, "intent")))
    asyncio.run(log.close())
    assert [one.invocation for one in start_and_close(tmp_path / "audit", "01B")] == ["call-1"]
    assert not start_and_close(tmp_path / "audit", "01C")
    assert check(tmp_path / "audit").ok


def test_a_living_process_is_not_recovered(tmp_path: Path) -> None:
    living = a_log(tmp_path / "audit", "01A")
    living.start()
    asyncio.run(living.durable(record(1, "intent")))
    assert not start_and_close(tmp_path / "audit", "01B")
    report = check(tmp_path / "audit")
    assert (report.ok, report.waiting) == (True, ())
    asyncio.run(living.close())


def test_only_what_was_open_at_the_last_checkpoint_is_read_again(dead: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Path.open

    def watched(path: Path, mode: str = "r") -> IO[Any]:
        opened.append(path.name)
        return real(path, mode)

    monkeypatch.setattr(Path, "open", watched)
    start_and_close(dead, "01B")
    read = [name for name in opened if name.endswith(".seg")]
    assert 0 < len(read) < len(list((dead / FIRST).glob("*.seg"))) / 2


@settings(max_examples=10)
@given(st.data())
def test_a_torn_end_is_cut_put_aside_and_recorded(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = left_behind().lay_out(Path(folder))
        segment = last_segment(directory)
        whole = segment.read_bytes()
        lines = whole.splitlines(True)
        kept = b"".join(lines[:-1])
        tail = lines[-1][: data.draw(st.integers(1, len(lines[-1]) - 1))] + data.draw(st.sampled_from([b"", b"\0" * 9]))
        segment.write_bytes(kept + tail)
        assert check(directory).ok
        start_and_close(directory, "01B")
        assert segment.read_bytes() == kept
        assert segment.with_name(f"{segment.name}.torn").read_bytes() == tail
        (event,) = [one for one in records(directory) if one.operation == "audit.recover"]
        assert event.detail["torn"] == f"{len(tail)} bytes at {len(kept)} in {segment.name}"
        assert check(directory).ok


def test_a_segment_that_was_torn_in_its_first_line_is_put_aside_whole(dead: Path) -> None:
    before = last_segment(dead)
    number = int(before.stem) + before.read_bytes().count(b"\n")
    torn = before.with_name(f"{number:020d}.seg")
    torn.write_bytes(b'{"seq":')
    start_and_close(dead, "01B")
    assert not torn.exists()
    assert torn.with_name(f"{torn.name}.torn").read_bytes() == b'{"seq":'
    assert check(dead).ok


def test_a_process_that_died_before_its_first_line_leaves_nothing_to_report(tmp_path: Path) -> None:
    start_and_close(tmp_path / "audit", "01A")
    (tmp_path / "audit" / "n-w-01B").mkdir()
    (tmp_path / "audit" / "n-w-01B" / "lock").touch()
    assert not start_and_close(tmp_path / "audit", "01C")
    assert check(tmp_path / "audit").ok


def test_signed_lines_that_are_wrong_are_left_as_they_are_and_told(dead: Path) -> None:
    segment = sorted((dead / FIRST).glob("*.seg"))[-3]
    changed = segment.read_bytes().replace(b"agent:coder", b"agent:other", 1)
    segment.write_bytes(changed)
    start_and_close(dead, "01B")
    assert segment.read_bytes() == changed
    faults = {(fault.kind, fault.segment) for fault in check(dead).faults}
    assert ("changed", segment.name) in faults


def test_damage_in_what_is_read_again_is_recorded(dead: Path) -> None:
    segments = sorted((dead / FIRST).glob("*.seg"))
    segment = segments[-2]
    segment.write_bytes(segment.read_bytes().replace(b"files.write", b"files.wrote"))
    start_and_close(dead, "01B")
    events = [one for one in records(dead) if one.operation == "audit.recover"]
    assert "is not what was written" in events[0].detail["damage"]
    assert not check(dead).ok


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"seq"', b'?"seq"'),  # no line of it is JSON any more
        (b'"format":1', b'"format":x'),  # its header is none
        (b'"prev":"', b'"prev":"x'),
        (b'"who":"', b'"who":7,"x":"'),
    ],
)
def test_lines_that_cannot_be_understood_do_not_stop_a_start(dead: Path, old: bytes, new: bytes) -> None:
    signed = next(iter(Checkpoints(dead / "checkpoints", FileKeys(dead.parent / "keys").signer("x")).heads().values()))
    segment = max(path for path in (dead / FIRST).glob("*.seg") if int(path.stem) <= signed.open_from)
    segment.write_bytes(segment.read_bytes().replace(old, new))
    start_and_close(dead, "01B")
    (event,) = [one for one in records(dead) if one.operation == "audit.recover"]
    assert "is not what was written" in event.detail["damage"]
    assert not check(dead).ok


def test_signed_lines_that_are_missing_are_recorded(dead: Path) -> None:
    for segment in sorted((dead / FIRST).glob("*.seg"))[1:]:
        segment.unlink()
    start_and_close(dead, "01B")
    events = [one for one in records(dead) if one.operation == "audit.recover"]
    assert "are missing" in events[0].detail["damage"]
    assert "truncated" in {fault.kind for fault in check(dead).faults}


def test_several_processes_that_start_at_once_recover_each_chain_once(tmp_path: Path) -> None:
    directory = left_behind().lay_out(tmp_path)
    program = f"""
import asyncio, sys
from pathlib import Path
from tests.runtime.audit_book import a_log
log = a_log(Path({str(directory)!r}), sys.argv[1])
log.start()
asyncio.run(log.close())
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    starting = [
        subprocess.Popen([sys.executable, "-c", program, f"02{n}"], env=environment, cwd=ROOT) for n in range(3)
    ]
    assert [one.wait(60) for one in starting] == [0, 0, 0]
    assert Counter(one.invocation for one in records(directory) if one.status == "unknown").most_common(1)[0][1] == 1
    assert check(directory).ok


def crash(folder: Path, times: int) -> None:
    """Kill a writing process so many times and judge what it left."""
    seed = random.randrange(2**32)
    run_python(["-m", "tests.runtime.audit_crasher", str(folder), str(times), str(seed)])
    start_and_close(folder / "audit", "end")
    kept = records(folder / "audit")
    intents = {one.invocation for one in kept if one.kind == "intent"}
    ends = Counter(one.invocation for one in kept if one.kind == "outcome")
    effects = {path.name for path in (folder / "effects").iterdir()}
    assert effects, seed
    assert effects <= intents, f"effects without an intent, seed {seed}"
    assert set(ends) == intents, f"intents without an end, seed {seed}"
    assert set(ends.values()) == {1}, f"intents with two ends, seed {seed}"
    report = check(folder / "audit")
    assert report.ok, (seed, report.faults[:3])
    assert not report.waiting


def test_after_25_kills_no_effect_lacks_its_intent_and_what_was_not_finished_is_unknown(tmp_path: Path) -> None:
    crash(tmp_path, 25)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_after_500_kills_no_effect_lacks_its_intent_and_what_was_not_finished_is_unknown(tmp_path: Path) -> None:
    crash(tmp_path, 500)


def test_the_reserve_of_a_dead_process_is_given_back(dead: Path) -> None:
    assert (dead / FIRST / "reserve").stat().st_size == SMALL.reserve_bytes
    start_and_close(dead, "01B")
    assert not list(dead.rglob("reserve"))
