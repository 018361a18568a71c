"""An agent does not multiply its share by lending its rights on: what all of those leave counts as its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import TooLarge
from tests.features.test_shares import house, refused, run


async def lent(here: Installation, by: Principal, name: str) -> Principal:
    made = await run(here, by, "access.delegate", {"name": name})
    return await here.kernel.identify(
        Credential("bearer", Secret(made.result()["key"]), Facts("127.0.0.1", "", "http"))
    )


async def test_the_undo_of_those_it_lent_to_is_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, undo_quota_bytes=40_000) as (here, one, other):
        path = Path(one.workspace) / "file"
        path.write_bytes(b"1" * 6_000)
        helper = await lent(here, one, "helper")
        assert (await run(here, helper, "files.write", {"path": str(path), "content": "2" * 6_000})).problem is None

        for by in (one, helper, await lent(here, one, "another"), await lent(here, helper, "deeper")):
            again = await run(here, by, "files.write", {"path": str(path), "content": "3" * 6_000})
            await refused(here, again, "outcome")

        assert path.read_text() == "2" * 6_000
        theirs = Path(other.workspace) / "file"
        theirs.write_bytes(b"1" * 6_000)
        assert (await run(here, other, "files.delete", {"path": str(theirs)})).problem is None


async def test_the_remembered_calls_of_those_it_lent_to_are_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, key_quota_bytes=40_000) as (here, one, other):
        some = [one, await lent(here, one, "helper"), await lent(here, one, "another")]
        ended = 0
        for number in range(30):
            outcome = await run(here, some[number % 3], "files.mkdir", {"path": f"d{number}"}, key=f"k{number}")
            if outcome.problem is not None:
                await refused(here, outcome, "refused")
                ended += 1

        assert ended >= 3  # each of the three is refused, long before each had a share of its own
        assert 30 - ended <= 10
        assert (await run(here, other, "files.mkdir", {"path": "d"}, key="k")).problem is None
        store: Any = here.kernel.hands.idempotency
        assert await store.sweep() == 0  # what is over is given back to the same account, and nothing is over yet


async def test_the_uploads_of_those_it_lent_to_are_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, blob_quota_bytes=40_000) as (here, one, other):
        blobs, helper = here.kernel.hands.blobs, await lent(here, one, "helper")

        async def put(by: Principal, size: int) -> str:
            async def chunks():  # type: ignore[no-untyped-def]
                yield b"x" * size

            return await blobs.put(by, chunks())

        handle = await put(helper, 6_000)
        for by in (one, helper):
            with pytest.raises(TooLarge, match="share"):
                await put(by, 6_000)
        await put(other, 6_000)
        assert (await blobs.read(helper, handle))[1] == 6_000
        with pytest.raises(Exception, match="there is no"):
            await blobs.read(one, handle)  # counted together, and still each one's own
