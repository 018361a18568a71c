"""The shared map: epochs and buckets that several processes see alike."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.limits import Rate, take
from superagent.core.problems import Unavailable
from superagent.runtime.shared_map import SharedMap


@pytest.fixture
def shared(tmp_path: Path) -> Generator[SharedMap]:
    made = SharedMap(tmp_path / "shared.map")
    yield made
    made.close()


BEGINNING = """
import sys, time
from pathlib import Path
from superagent.core.limits import Rate
from superagent.runtime.shared_map import SharedMap
shared = SharedMap(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def three_processes(program: str, path: Path) -> Generator[list[subprocess.Popen[str]]]:
    """Run a program three times, all begun by one word, until the body ends."""
    command = [sys.executable, "-c", BEGINNING + program, path]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(3)
        ]
        try:
            assert [said(child) for child in children] == ["ready"] * 3
            for child in children:
                tell(child, "go")
            yield children
        finally:
            for child in children:
                assert child.stdin is not None
                child.stdin.close()


def said(child: subprocess.Popen[str]) -> str:
    """Give the next line that a process says."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str], line: str) -> None:
    """Say a line to a process."""
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()


def test_an_epoch_raised_in_one_process_is_seen_in_another_and_kept(shared: SharedMap, tmp_path: Path) -> None:
    other = SharedMap(tmp_path / "shared.map")
    assert (shared.policy.read(), shared.policy.bump(), other.policy.read()) == (0, 1, 1)
    assert (other.identity.bump(), shared.identity.read(), shared.policy.read()) == (1, 1, 1)
    other.close()
    again = SharedMap(tmp_path / "shared.map")
    assert again.policy.read() == 1
    again.close()


def test_no_raise_of_an_epoch_is_lost_between_processes(shared: SharedMap, tmp_path: Path) -> None:
    program = "for _ in range(5_000): shared.policy.bump()"
    with three_processes(program, tmp_path / "shared.map") as children:
        assert [child.wait(50) for child in children] == [0, 0, 0]
    assert shared.policy.read() == 15_000


def test_reading_an_epoch_costs_less_than_a_function_call_or_two(shared: SharedMap) -> None:
    def cpu_of(work: object, count: int = 100_000) -> float:
        assert callable(work)
        started = time.process_time()
        for _ in range(count):
            work()
        return (time.process_time() - started) / count

    read = min(cpu_of(shared.policy.read) for _ in range(5))
    nothing = min(cpu_of(lambda: None) for _ in range(5))
    assert read < max(0.3e-6, 5 * nothing)


def test_three_processes_take_from_one_bucket_exactly_what_one_would(shared: SharedMap, tmp_path: Path) -> None:
    # each takes at once and as fast as it can, all at a time that is given: no clock and no load can change the sum
    steps = (0.0, 0.0, 0.25, 0.5, 10.0)
    program = (
        "rate, now = Rate(16_384, 8_192), 1_024.0\n"
        "print('now', flush=True)\n"
        "for line in sys.stdin:\n"
        "    now += float(line)\n"
        "    print(sum(shared.take('k', rate, now) == 0.0 for _ in range(9_000)), flush=True)\n"
    )
    alone, tat, now, rate = list[int](), 0.0, 1_024.0, Rate(16_384, 8_192)
    for step in steps:
        now, taken = now + step, 0
        while (one := take(tat, rate, now))[1] == 0.0:
            tat, taken = one[0], taken + 1
        alone.append(taken)

    together: list[int] = []
    with three_processes(program, tmp_path / "shared.map") as children:
        assert [said(child) for child in children] == ["now"] * 3
        for step in steps:
            for child in children:
                tell(child, str(step))
            together.append(sum(int(said(child)) for child in children))

    assert alone == [8_192, 0, 4_096, 8_192, 8_192]
    assert together == alone


def test_a_bucket_of_the_map_follows_the_arithmetic(shared: SharedMap) -> None:
    rate, now, tat = Rate(10, 5), 1_000.0, 0.0
    for step in (0, 0, 0, 0, 0, 0, 0.05, 0.1, 0.3, 0, 5, 0):
        now += step
        tat, wait = take(tat, rate, now)
        assert shared.take("key", rate, now) == pytest.approx(wait)
    assert shared.take("other", rate, now) == 0.0


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 2), st.integers(1, 3)), max_size=60))
def test_no_key_gets_more_than_its_own_bucket_gives(calls: list[tuple[int, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shared = SharedMap(Path(folder) / "shared.map")
        rate, now = Rate(2, 4), 5_000.0
        tats: dict[int, float] = {}
        for key, step, cost in calls:
            now += step
            tats[key], wait = take(tats.get(key, 0.0), rate, now, cost)
            assert shared.take(f"k{key}", rate, now, cost) == pytest.approx(wait)
        shared.close()


def test_more_keys_than_cells_forget_the_longest_idle_and_never_block_anybody(
    shared: SharedMap, tmp_path: Path
) -> None:
    size = (tmp_path / "shared.map").stat().st_size
    rate = Rate(1, 1)
    for number in range(100_000):
        assert shared.take(f"key {number}", rate, 1_000.0 + number) == 0.0
    assert shared.take("key 99999", rate, 1_000.0 + 99_999) > 0
    assert (tmp_path / "shared.map").stat().st_size == size


def test_a_clock_that_was_ahead_does_not_block_a_caller_for_long(shared: SharedMap) -> None:
    rate = Rate(10, 5)
    assert shared.take("key", rate, 2_000_000.0) == 0.0
    assert shared.take("key", rate, 1_000.0) == pytest.approx(0.1)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shared.map"
    for content in (b"something else", b"x" * (4096 + 8192 * 8 * 16)):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(Unavailable, match="version"):
            SharedMap(path)


def test_the_map_is_private(shared: SharedMap, tmp_path: Path) -> None:
    assert (tmp_path / "shared.map").stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link.map"
    link.symlink_to(tmp_path / "shared.map")
    with pytest.raises(Unavailable):
        SharedMap(link)
