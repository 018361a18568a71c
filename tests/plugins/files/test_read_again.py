"""Reads given again: never an answer that was true once, whoever changed the file, and nobody's but one's own."""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.grants import Grant
from superagent.core.leaks import checksum
from superagent.core.principal import Principal
from superagent.core.reads import LONGEST_S, MOST_BYTES
from superagent.runtime.file_moment import SETTLED_S
from superagent.testing import agent
from tests.plugins.files.ground import Ground, within
from tests.promise import promise
from tests.until import until_async

TICK_S = 0.015  # longer than a step of the kernel's clock, which is 1 to 10 ms
_opened: list[str] = []
_names = iter(range(1_000_000))


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_note)


def reads_of(name: str) -> int:
    """Count how often the platform opened a file: it opens by its name in its folder."""
    return _opened.count(name)


async def passed(seconds: float) -> None:
    end = time.monotonic() + seconds
    await until_async(lambda: time.monotonic() >= end, "time to pass", seconds + 60)


def fresh() -> str:
    return f"again-{next(_names)}.txt"


def later(ground: Ground) -> Ground:
    """Let what lies there have settled, as if time had passed."""
    ground.world.clock.advance(time.time() + 10 * SETTLED_S - ground.world.clock.now())
    return ground


@promise("7.1")
async def test_what_did_not_change_is_read_once_and_recorded_each_time(ground: Ground) -> None:
    name = fresh()
    later(ground).write(name, "one\n")

    answers = [await ground.do("read", path=name) for _ in range(5)]

    assert reads_of(name) == 1
    assert all(one == answers[0] for one in answers)
    assert answers[0]["content"] == "one\n"
    records = [one for one in ground.world.audit.records if one.operation == "files.read"]
    assert len(records) == 5
    assert len({(one.status, one.output_digest, one.bytes, one.resources) for one in records}) == 1
    assert len({one.invocation for one in records}) == 5


async def test_when_an_answer_ends_one_of_many_reads_anew_and_the_others_wait_for_it(ground: Ground) -> None:
    name = fresh()
    later(ground).write(name, "one")
    await ground.do("read", path=name)
    later(ground).write(name, "other")

    answers = await asyncio.gather(*(ground.do("read", path=name) for _ in range(20)))

    assert {one["content"] for one in answers} == {"other"}
    assert reads_of(name) == 2
    assert len([one for one in ground.world.audit.records if one.operation == "files.read"]) == 21


async def test_who_waited_for_one_that_failed_reads_itself(ground: Ground) -> None:
    name = fresh()
    later(ground).write(name, "one")
    await ground.do("read", path=name)
    (ground.top / name).unlink()

    problems = await asyncio.gather(*(ground.refused("read", path=name) for _ in range(3)))
    ground.write(name, "two")

    assert {one.status for one in problems} == {404}
    assert (await ground.do("read", path=name))["content"] == "two"


async def test_another_part_of_it_is_another_answer(ground: Ground) -> None:
    name = fresh()
    later(ground).write(name, "one\ntwo\n")

    assert (await ground.do("read", path=name, lines="1"))["content"] == "one\n"
    assert (await ground.do("read", path=name, lines="2"))["content"] == "two\n"


async def test_what_changed_a_moment_ago_is_not_kept(ground: Ground) -> None:
    name = fresh()
    ground.world.clock.advance(time.time() - ground.world.clock.now())
    ground.write(name, "one")

    for _ in range(3):
        await ground.do("read", path=name)

    assert reads_of(name) == 3


async def test_behind_a_link_nothing_is_kept(ground: Ground) -> None:
    name = fresh()
    later(ground).write(f"real/{name}", "one")
    (ground.top / "way").symlink_to(ground.top / "real")

    for _ in range(3):
        await ground.do("read", path=f"way/{name}")

    assert reads_of(name) == 3


async def test_a_folder_that_becomes_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    name = fresh()
    top = tmp_path / "top"
    ground = later(Ground(tmp_path, [within(top / "**"), within(top / "closed/**", effect="deny")]))
    ground.write(f"open/{name}", "one")
    assert (await ground.call("read", path=f"open/{name}")).problem is None

    # the very same file, where this caller may not read it
    (top / "open").rename(top / "closed")
    (top / "open").symlink_to(top / "closed")

    assert (await ground.refused("read", path=f"open/{name}")).status in (403, 404)


async def test_a_key_in_it_is_withheld_each_time(ground: Ground) -> None:
    name, seed = fresh(), "a" * 36
    later(ground).write(name, f"key sak_{seed}{checksum(seed)}")

    for _ in range(3):
        assert "withheld" in (await ground.do("read", path=name))["content"]


@promise("7.1")
async def test_nobody_is_given_what_another_was_answered(tmp_path: Path) -> None:
    name = fresh()
    ann, bob, eve = (agent(one) for one in ("ann", "bob", "eve"))
    top = tmp_path / "top/**"
    closed = Grant.model_validate({**within(top, effect="deny").model_dump(), "subject": "agent:eve"})
    ground = later(Ground(tmp_path, [within(top), closed]))
    ground.write(name, "one")

    async def read(by: Principal) -> Any:
        return await ground.call("read", by=by, path=name)

    first, again, others, refused = [await read(one) for one in (ann, ann, bob, eve)]

    assert reads_of(name) == 2  # ann's and bob's
    assert first.tag == again.tag != ""
    assert others.output == first.output
    assert others.tag != first.tag  # equal tags would tell that another was answered the same
    assert refused.problem is not None
    assert refused.tag == ""


async def test_what_is_kept_has_a_bound(ground: Ground) -> None:
    names = [fresh() for _ in range(MOST_BYTES // 200_000 + 5)]
    for name in names:
        later(ground).write(name, name * (200_000 // len(name)))
    for name in names:
        await ground.do("read", path=name)

    await ground.do("read", path=names[-1])
    await ground.do("read", path=names[0])

    assert reads_of(names[-1]) == 1
    assert reads_of(names[0]) == 2  # the oldest had to go


CHANGES = (
    "nothing", "through", "edit", "over", "back-dated", "replaced", "moved", "folder", "link", "cut", "touched", "gone",
)  # fmt: skip


def change(ground: Ground, how: str, text: str) -> None:
    """Change `in/x` beside the line, as other programs do."""
    file, folder = ground.top / "in/x", ground.top / "in"
    before = file.stat() if file.exists() else None
    match how:
        case "over" | "back-dated":
            file.write_text(text)
            if how == "back-dated" and before is not None:
                os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "replaced":
            other = ground.write("in/y", text)
            if before is not None:
                os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
            other.replace(file)
        case "moved":
            if before is not None:
                file.rename(folder / "old")
            file.write_text(text)
        case "folder" | "link":
            other = ground.top / f"other{time.monotonic_ns()}"
            other.mkdir()
            (other / "x").write_text(text)
            folder.rename(ground.top / f"was{time.monotonic_ns()}")
            other.rename(folder) if how == "folder" else folder.symlink_to(other)
        case "cut":
            file.write_text("")
        case "touched":
            file.touch()
        case "gone":
            file.unlink(missing_ok=True)
        case _:
            pass


@promise("7.1")
@settings(max_examples=25)
@given(
    steps=st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(["aaa", "bbb", "ccc"])), min_size=1, max_size=8)
)
def test_no_change_through_the_line_or_beside_it_is_missed(steps: list[tuple[str, str]]) -> None:
    async def run(folder: Path) -> None:
        ground = later(Ground(folder))
        ground.write("in/x", "aaa")
        for how, text in steps:
            for _ in range(2):  # the second may be given again
                await told(ground)
            await passed(TICK_S)
            if how == "through":
                await ground.do("write", path="in/x", content=text)
            elif how == "edit" and (ground.top / "in/x").exists() and (ground.top / "in/x").read_text():
                await ground.do("edit", path="in/x", old=(ground.top / "in/x").read_text(), new=text)
            else:
                change(ground, how, text)
            await told(ground)

    async def told(ground: Ground) -> None:
        there = ground.top / "in/x"
        outcome = await ground.call("read", path="in/x")
        if not there.exists():
            assert outcome.problem is not None
        else:
            assert outcome.result()["content"] == there.read_text()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@promise("7.1")
@pytest.mark.slow
async def test_a_program_that_writes_all_the_time_is_never_answered_with_what_it_wrote_over(ground: Ground) -> None:
    """In real time: another process writes texts of one length, now at once, now after what it wrote has settled."""
    name = fresh()
    ground.write(name, "00000000")
    done = ground.write("done", "00000000")
    program = (
        "import os, sys, time\n"
        "file, done = (os.open(one, os.O_WRONLY) for one in sys.argv[1:])\n"
        "for number in range(1, 400):\n"
        "    os.pwrite(file, b'%08d' % number, 0)\n"
        "    os.pwrite(done, b'%08d' % number, 0)\n"
        f"    time.sleep({SETTLED_S + 1.5} if number % 100 == 0 else 0.001)\n"
    )
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", program, ground.top / name, done)
    ended, calls, clock = asyncio.ensure_future(writer.wait()), 0, ground.world.clock
    while not ended.done():
        clock.advance(time.time() - clock.now())
        least = int(done.read_text())
        assert int((await ground.do("read", path=name))["content"]) >= least
        calls += 1
        await asyncio.sleep(0)

    assert calls - reads_of(name) > 100  # so many were given again, while the other paused
    assert (await ground.do("read", path=name))["content"] == "00000399"


@pytest.mark.slow
async def test_what_the_validator_cannot_see_is_told_after_five_seconds_at_the_latest(ground: Ground) -> None:
    """A store through a shared map sets the times once, when its page is first touched: the next ones do not."""
    name = fresh()
    file = ground.write(name, "aaa")
    clock = ground.world.clock
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 3) as mapped:
        mapped[0:3] = b"bbb"
        await passed(SETTLED_S + 0.1)
        clock.advance(time.time() - clock.now())
        assert (await ground.do("read", path=name))["content"] == "bbb"
        mapped[0:3] = b"ccc"
        await passed(LONGEST_S + 0.1)

        assert (await ground.do("read", path=name))["content"] == "ccc"
