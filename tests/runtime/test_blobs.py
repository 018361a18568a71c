"""Blobs: handles, who may use them, how much there may be, and what is left of them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from superagent.core.bounds import Bounds
from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, NotFound, TooLarge, Unavailable
from superagent.runtime import blobs
from superagent.runtime.blobs import FileBlobs
from superagent.testing import FakeClock, agent, person
from tests.data.areas import check_area
from tests.runtime.stores import Stores, stores

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86_400.0
ADA, EVE = person("ada"), person("eve")
BUILDER, PAINTER, WRITER = agent("builder"), agent("painter"), agent("writer")


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def shelf(made: Stores) -> FileBlobs:
    return FileBlobs(made.database, made.clock, made.folder / "blobs", most_bytes=1_000, quota_bytes=2_000)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def files_of(made: Stores) -> list[str]:
    return sorted(one.name for one in (made.folder / "blobs").iterdir())


async def test_the_area_keeps_its_tenants_apart_and_its_migrations_true(tmp_path: Path) -> None:
    await check_area(blobs.AREA, tmp_path)


async def test_what_was_put_is_read_by_offset(shelf: FileBlobs) -> None:
    handle = await shelf.put(ADA, pieces(b"01234", b"", b"56789"))
    assert await shelf.read(ADA, handle) == (b"0123456789", 10)
    assert await shelf.read(ADA, handle, 3, 4) == (b"3456", 10)
    assert await shelf.read(ADA, handle, 10) == (b"", 10)
    assert await shelf.read(ADA, handle, 0, 0) == (b"", 10)
    assert await shelf.digest(ADA, handle) == (hashlib.sha256(b"0123456789").hexdigest(), 10)


async def test_handles_say_what_they_are_and_cannot_be_guessed(shelf: FileBlobs, made: Stores) -> None:
    one = await shelf.put(ADA, pieces(b"x"))
    other = await shelf.put(ADA, pieces(b"x"), what="result")
    assert one.startswith("blob_")
    assert other.startswith("res_")
    assert len(one.removeprefix("blob_")) == 32  # 24 random bytes
    assert files_of(made) == sorted([one, other])
    assert all((made.folder / "blobs" / name).stat().st_mode & 0o777 == 0o600 for name in (one, other))


async def test_a_handle_belongs_to_its_tenant_and_principal(shelf: FileBlobs) -> None:
    handle = await shelf.put(ADA, pieces(b"secret"))
    strangers = [Principal("ada", "human", "other"), EVE, Principal("", "human", ""), BUILDER]
    for who in strangers:
        for use in (shelf.read, shelf.digest, shelf.delete):
            with pytest.raises(NotFound):
                await use(who, handle)
        with pytest.raises(NotFound):
            await shelf.grep(who, handle, "secret")
    for name in ("../superagent.db", "blob_", "", "blob_" + "x" * 300):
        with pytest.raises(NotFound):
            await shelf.read(ADA, name)


async def test_a_handle_is_not_there_within_narrower_bounds_than_those_it_was_made_in(shelf: FileBlobs) -> None:
    wide, narrow = (Bounds([Grant(effect="allow", operations=[name])]) for name in ("files.*", "files.stat"))
    wide_key, narrow_key = BUILDER.within(wide), BUILDER.within(narrow)
    lent, lent_wider = narrow_key.within(wide, "tests"), wide_key.within(wide, "tests")
    seen_by = {BUILDER: [BUILDER], wide_key: [wide_key, BUILDER], lent: [lent], lent_wider: [lent_wider]}
    for who, readers in seen_by.items():
        handle = await shelf.put(who, pieces(b"secret"))
        for reader in (BUILDER, wide_key, narrow_key, lent, lent_wider):
            if reader in readers:
                assert await shelf.read(reader, handle) == (b"secret", 6)
                continue
            for use in (shelf.read, shelf.digest, shelf.delete):
                with pytest.raises(NotFound, match="there is no"):
                    await use(reader, handle)
            with pytest.raises(NotFound):
                await shelf.grep(reader, handle, "secret")


async def test_one_that_is_too_large_is_refused_while_it_comes_and_leaves_nothing(
    shelf: FileBlobs, made: Stores
) -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 400

    with pytest.raises(TooLarge, match="1000 bytes that one may have"):
        await shelf.put(ADA, endless())
    assert len(taken) == 3
    assert files_of(made) == []


async def test_a_tenant_over_its_quota_is_refused_and_others_are_not(shelf: FileBlobs, made: Stores) -> None:
    handles = [await shelf.put(ADA, pieces(b"x" * 900)) for _ in range(2)]
    with pytest.raises(TooLarge, match="tenant"):
        await shelf.put(EVE, pieces(b"x" * 201))
    await shelf.put(Principal("eve", "human", "other"), pieces(b"x" * 900))
    await shelf.delete(ADA, handles[0])
    await shelf.put(EVE, pieces(b"x" * 900))
    assert len(files_of(made)) == 3


async def test_who_acts_for_somebody_has_only_a_share(shelf: FileBlobs, made: Stores) -> None:
    one = await shelf.put(BUILDER, pieces(b"x" * 400))
    with pytest.raises(TooLarge, match="100 bytes that are left of your share") as refused:
        await shelf.put(BUILDER, pieces(b"x" * 101))
    assert "result.delete" in (refused.value.hint or "")
    assert files_of(made) == [one]
    await shelf.put(PAINTER, pieces(b"x" * 500))
    await shelf.put(ADA, pieces(b"x" * 900))
    with pytest.raises(TooLarge, match="200 bytes that this tenant"):
        await shelf.put(WRITER, pieces(b"x" * 201))
    await shelf.delete(BUILDER, one)
    await shelf.put(BUILDER, pieces(b"x" * 500))


async def test_the_share_holds_when_many_come_at_once(shelf: FileBlobs, made: Stores) -> None:
    puts = [shelf.put(BUILDER, pieces(b"x" * 200)) for _ in range(6)]
    put = await asyncio.gather(*puts, return_exceptions=True)
    assert sorted(type(one).__name__ for one in put) == ["TooLarge"] * 4 + ["str"] * 2
    assert len(files_of(made)) == 2


async def test_a_share_has_a_number_of_pieces_too(made: Stores) -> None:
    shelf = FileBlobs(made.database, made.clock, made.folder / "blobs", most_handles=2)
    for _ in range(2):
        await shelf.put(BUILDER, pieces(b""))
    with pytest.raises(TooLarge, match="2 stored results"):
        await shelf.put(BUILDER, pieces(b""))
    await shelf.put(ADA, pieces(b""))


async def test_the_quota_holds_when_many_come_at_once(shelf: FileBlobs, made: Stores) -> None:
    puts = [shelf.put(ADA, pieces(b"x" * 900)) for _ in range(6)]
    put = await asyncio.gather(*puts, return_exceptions=True)
    assert sorted(type(one).__name__ for one in put) == ["TooLarge"] * 4 + ["str"] * 2
    assert len(files_of(made)) == 2


async def test_an_upload_that_breaks_off_leaves_nothing(shelf: FileBlobs, made: Stores) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError(errno.ECONNRESET, "gone")

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    with pytest.raises(ConnectionResetError):
        await shelf.put(ADA, broken())
    task = asyncio.create_task(shelf.put(ADA, stuck()))
    while not files_of(made):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_of(made) == []


async def test_a_disk_that_cannot_take_it_is_named(shelf: FileBlobs, made: Stores) -> None:
    (made.folder / "blobs").rmdir()
    with pytest.raises(Unavailable, match=os.strerror(errno.ENOENT)) as refused:
        await shelf.put(ADA, pieces(b"x"))
    assert refused.value.changed == "nothing"


async def test_a_deleted_handle_is_gone(shelf: FileBlobs, made: Stores) -> None:
    handle = await shelf.put(ADA, pieces(b"x"))
    await shelf.delete(ADA, handle)
    with pytest.raises(NotFound):
        await shelf.read(ADA, handle)
    assert files_of(made) == []


async def test_after_24_hours_a_handle_and_its_bytes_are_gone(made: Stores) -> None:
    shelf = FileBlobs(made.database, clock := FakeClock(time.time()), made.folder / "blobs")
    handle = await shelf.put(ADA, pieces(b"x"))
    clock.advance(DAY - 60)
    assert await shelf.sweep() == 0
    assert await shelf.read(ADA, handle) == (b"x", 1)
    clock.advance(60)
    with pytest.raises(NotFound):
        await shelf.read(ADA, handle)
    assert await shelf.sweep() == 1
    clock.advance(2 * 3600)
    (made.folder / "blobs" / "fresh").write_bytes(b"")
    os.utime(made.folder / "blobs" / "fresh", (clock.now(), clock.now()))
    await shelf.sweep()
    assert files_of(made) == ["fresh"]


async def test_lines_are_found_with_their_number_offset_and_text(shelf: FileBlobs) -> None:
    text = "alpha\nbeta gamma\nno\ngamma" + "x" * 300
    handle = await shelf.put(ADA, pieces(text.encode()))
    hits = await shelf.grep(ADA, handle, "gam+a")
    assert [(one.line, one.offset, one.text) for one in hits] == [
        (2, 11, "beta gamma"), (4, 20, "gamma" + "x" * 195),
    ]  # fmt: skip
    assert len(await shelf.grep(ADA, handle, "a", limit=3)) == 3
    assert [one.offset for one in await shelf.grep(ADA, handle, "^[a-z]+$")] == [0, 17, 20]
    assert [one.offset for one in await shelf.grep(ADA, handle, "gamma", offset=12)] == [20]
    assert await shelf.grep(ADA, handle, "delta") == []


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", r"(a)\1", "*"])
async def test_what_is_no_pattern_is_refused(shelf: FileBlobs, pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    handle = await shelf.put(ADA, pieces(b"x"))
    with pytest.raises(InvalidInput, match="RE2"):
        await shelf.grep(ADA, handle, pattern)
    assert capfd.readouterr().err == ""


async def test_a_pattern_made_to_take_for_ever_does_not(made: Stores) -> None:
    shelf = FileBlobs(made.database, made.clock, made.folder / "blobs")
    handle = await shelf.put(ADA, pieces(b"a" * 3_000_000))
    started = time.process_time()
    assert await shelf.grep(ADA, handle, "(a+)+b") == []
    assert time.process_time() - started < 10


PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.runtime.blobs import FileBlobs
from superagent.testing import person
from tests.runtime.stores import stores

async def pieces(n):
    yield b"%d" % n
    yield b"!" * 1000

async def main():
    async with stores(Path(sys.argv[1])) as made:
        shelf = FileBlobs(made.database, made.clock, made.folder / "blobs")
        for n in range(10_000):
            print(await shelf.put(person(), pieces(n)), n, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(30)]
        child.kill()
        said += child.stdout.readlines()
    async with stores(tmp_path) as made:
        shelf = FileBlobs(made.database, made.clock, made.folder / "blobs")
        for handle, number in (line.split() for line in said if line.endswith("\n")):
            data, size = await shelf.read(ADA, handle)
            assert data == number.encode() + b"!" * 1000
            assert size == len(data)
