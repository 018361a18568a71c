"""One agent cannot use up what the agents of a tenant share: over its part it is refused, and another still works."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.core.problems import TooLarge
from superagent.settings import load
from tests.features.test_approved_files import agent


@asynccontextmanager
async def house(folder: Path, **limits: Any) -> AsyncGenerator[tuple[Installation, Principal, Principal]]:
    """Open an installation with these limits, and give it with two agents."""
    flags = {f"limits.{name}": value for name, value in limits.items()}
    async with open_installation(load(folder / "data", flags, environ={})) as here:
        yield here, await agent(here, name="one"), await agent(here, name="other")


async def run(here: Installation, by: Principal, operation: str, input: dict[str, Any], **call: Any) -> Outcome:
    return await here.kernel.run(Call(operation, input, **call), by, "http")


async def refused(here: Installation, outcome: Outcome, kind: str) -> str:
    """Check that a call was refused before its effect, said how to go on, and is on record; give what it said."""
    assert outcome.problem is not None, outcome.output[:200]
    assert (outcome.problem.slug, outcome.problem.changed, outcome.effects) == ("too-large", "nothing", ())
    assert "agent_share" in (outcome.problem.hint or "") or "quota" in (outcome.problem.hint or "")
    records = (await here.index.query("default", invocation=outcome.invocation, limit=5))[0]
    assert (records[0]["kind"], records[0]["problem"]) == (kind, "too-large")
    return outcome.problem.detail


async def test_an_agent_over_its_share_of_the_undo_store_changes_nothing_more(tmp_path: Path) -> None:
    async with house(tmp_path, undo_quota_bytes=40_000) as (here, one, other):
        path = Path(one.workspace) / "file"
        path.write_bytes(b"1" * 6_000)
        first = await run(here, one, "files.write", {"path": str(path), "content": "2" * 6_000})
        assert first.problem is None

        second = await run(here, one, "files.write", {"path": str(path), "content": "3" * 6_000})

        assert "4000 bytes" in await refused(here, second, "outcome")
        assert path.read_text() == "2" * 6_000
        gone = await run(here, one, "files.delete", {"path": str(path)})
        await refused(here, gone, "outcome")
        assert path.exists()

        theirs = Path(other.workspace) / "file"
        theirs.write_bytes(b"1" * 6_000)
        assert (await run(here, other, "files.delete", {"path": str(theirs)})).problem is None
        owner = await here.owner()
        own = Path(owner.workspace) / "file"
        own.write_bytes(b"1" * 20_000)  # a person has no share, only the tenant's quota
        assert (await run(here, owner, "files.delete", {"path": str(own)})).problem is None


async def test_what_there_is_no_room_for_is_not_copied_first(tmp_path: Path) -> None:
    async with house(tmp_path, undo_quota_bytes=40_000) as (here, one, _):
        path = Path(one.workspace) / "file"
        path.write_bytes(b"1" * 1_000_000)

        await refused(here, await run(here, one, "files.delete", {"path": str(path)}), "outcome")

        kept = [file for file in (here.places.state / "undo").rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in kept) < 40_000


async def test_what_is_taken_back_still_counts_and_a_note_without_bytes_hardly_does(tmp_path: Path) -> None:
    async with house(tmp_path, undo_quota_bytes=40_000) as (here, one, _):
        for number in range(20):  # what did not exist before takes nothing
            path = Path(one.workspace) / f"new{number}"
            assert (await run(here, one, "files.write", {"path": str(path), "content": "x" * 9_000})).problem is None


async def test_an_agent_over_its_share_of_stored_results_gets_no_more_handles(tmp_path: Path) -> None:
    async with house(tmp_path, blob_quota_bytes=40_000) as (here, one, other):
        for by in (one, other):
            (Path(by.workspace) / "file").write_text("x" * 6_000)
        first = await run(here, one, "files.read", {"path": "file"}, max_bytes=100)
        assert first.handle

        second = await run(here, one, "files.read", {"path": "file"}, max_bytes=100)

        assert "left of your share" in await refused(here, second, "outcome")
        assert (await run(here, other, "files.read", {"path": "file"}, max_bytes=100)).handle
        assert (await run(here, one, "files.read", {"path": "file"})).status is Status.DONE
        assert (await run(here, one, "result.delete", {"handle": first.handle})).problem is None
        assert (await run(here, one, "files.read", {"path": "file"}, max_bytes=100)).handle


async def test_an_agent_over_its_share_of_remembered_keys_is_refused_before_the_effect(tmp_path: Path) -> None:
    async with house(tmp_path, key_quota_bytes=40_000) as (here, one, other):
        outcomes: list[Outcome] = []
        for number in range(12):
            call = {"path": f"file{number}", "content": "x"}
            outcomes.append(await run(here, one, "files.write", call, key=f"key{number}"))
        made = [one for one in outcomes if one.problem is None]
        assert 2 <= len(made) < 12

        assert "your share of 10000" in await refused(here, outcomes[-1], "refused")

        assert len(list(Path(one.workspace).iterdir())) == len(made)
        again = await run(here, one, "files.write", {"path": "file0", "content": "x"}, key="key0")
        assert again.invocation == outcomes[0].invocation  # what is remembered still answers
        assert (await run(here, one, "files.write", {"path": "plain", "content": "x"})).problem is None
        assert (await run(here, other, "files.write", {"path": "f", "content": "x"}, key="k")).problem is None


async def test_uploads_count_too(tmp_path: Path) -> None:
    async with house(tmp_path, blob_quota_bytes=40_000) as (here, one, other):

        async def chunks(size: int) -> AsyncGenerator[bytes]:
            yield b"x" * size

        blobs = here.kernel.hands.blobs
        with pytest.raises(TooLarge, match="10000 bytes that are left of your share"):
            await blobs.put(one, chunks(10_001))
        assert await blobs.put(other, chunks(10_000))
        assert not (await here.owner()).shares
