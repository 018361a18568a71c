"""What takes a change of the platform's own tables back is kept in the transaction of that change: both, or neither."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome
from superagent.core.problems import Unavailable
from superagent.core.taint import Mark
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.undo_store import SqlUndo
from superagent.settings import load

GRANT = {"effect": "deny", "subject": "agent:nobody", "operations": ["files.read"]}
MADE: list[tuple[str, dict[str, Any], str]] = [
    ("access.keys.create", {"name": "bot"}, "access.keys.list"),
    ("access.clients.create", {"name": "robot", "kind": "service"}, "access.clients.list"),
    ("grants.create", {"grant": GRANT}, "grants.list"),
    ("grants.revoke", {"id": "@grant"}, "grants.list"),
    ("policy.propose", {"add": [GRANT]}, "policy.proposals"),
    ("access.taint.clear", {"subject": "caller:reader"}, "access.taint.list"),
    ("access.keys.rotate", {"id": "@key"}, "access.keys.list"),
]


@asynccontextmanager
async def opened(folder: Path, **limits: Any) -> AsyncGenerator[tuple[Installation, dict[str, str]]]:
    """Open an installation in which there is something to change already; gives the ids of that."""
    async with open_installation(load(folder / "data", {}, environ={})) as first:
        await first.kernel.hands.taints.add("default", [Mark("caller:reader", "a page", 1.0)])
        key = (await run(first, "access.keys.create", {"name": "other"})).result()["id"]
        grant = (await run(first, "grants.create", {"grant": GRANT})).result()["id"]
    flags = {f"limits.{name}": value for name, value in limits.items()}
    async with open_installation(load(folder / "data", flags, environ={})) as here:
        yield here, {"@key": key, "@grant": grant}


async def run(here: Installation, operation: str, input: dict[str, Any]) -> Outcome:
    return await here.kernel.run(Call(operation, input), await here.owner(), "http")


async def kept(here: Installation) -> list[dict[str, Any]]:
    return (await run(here, "undo.list", {})).result()["entries"]


async def test_what_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    async with opened(tmp_path, undo_quota_bytes=0) as (here, ids):
        undoable = await kept(here)
        for operation, input, look in MADE:
            before = (await run(here, look, {})).result()

            outcome = await run(here, operation, {name: ids.get(str(value), value) for name, value in input.items()})

            assert outcome.problem is not None, operation
            assert (outcome.problem.slug, outcome.problem.changed, outcome.effects) == ("too-large", "nothing", ())
            assert (await run(here, look, {})).result() == before, operation
        assert await kept(here) == undoable


async def test_what_was_done_is_kept_once_and_closed(tmp_path: Path) -> None:
    async with opened(tmp_path) as (here, ids):
        for operation, input, _ in MADE:
            before = await kept(here)
            outcome = await run(here, operation, {name: ids.get(str(value), value) for name, value in input.items()})
            assert outcome.problem is None, outcome.problem

            entry, *others = await kept(here)

            assert others == before, operation
            assert (entry["invocation"], entry["state"]) == (outcome.invocation, "undoable")
            assert [one.resource for one in outcome.effects] == [entry["resource"]]


async def test_what_fails_after_the_change_says_that_it_was_made_and_can_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(policies: SqlPolicies) -> None:
        raise OSError("the map of epochs is gone")

    async with opened(tmp_path) as (here, _):
        before = (await run(here, "grants.list", {})).result()
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(SqlPolicies, "changed", broken)
            outcome = await run(here, "grants.create", {"grant": GRANT})

        assert outcome.problem is not None
        assert (outcome.problem.slug, outcome.problem.changed) == ("internal", "partly")
        assert (await kept(here))[0]["state"] == "unknown"
        policies = here.kernel.hands.policies
        assert isinstance(policies, SqlPolicies)
        await policies.changed()  # as at the next change, or the next start
        undone = await run(here, "undo.apply", {"ids": [outcome.invocation]})
        assert undone.problem is None, undone.problem
        assert (await run(here, "grants.list", {})).result() == before


async def test_however_often_a_call_is_cancelled_it_says_what_it_made(tmp_path: Path) -> None:
    drawn, made = random.Random(5), 0
    async with opened(tmp_path) as (here, _):
        for number in range(60):
            grant = GRANT | {"subject": f"agent:a{number}"}
            call = asyncio.create_task(run(here, "grants.create", {"grant": grant}))
            for _ in range(2):
                for _ in range(drawn.randrange(7)):
                    await asyncio.sleep(0.001)
                call.cancel()
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
            policies = here.kernel.hands.policies
            assert isinstance(policies, SqlPolicies)
            await policies.changed()
            there = any(one.subject == f"agent:a{number}" for one in policies.of("default").grants)
            made += there
            if isinstance(outcome, Outcome):
                assert there == bool(outcome.effects), (outcome.status, outcome.problem)
            else:  # it was cancelled before it came to the line, or after its end
                assert isinstance(outcome, asyncio.CancelledError)
                assert not there
    assert made


async def test_where_nobody_can_tell_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database does not answer")

    async def broken(policies: SqlPolicies) -> None:
        raise Unavailable("the database does not answer")

    async with opened(tmp_path) as (here, _):
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(SqlPolicies, "changed", broken)
            meanwhile.setattr(SqlUndo, "of", gone)
            outcome = await run(here, "grants.create", {"grant": GRANT})

        assert outcome.problem is not None
        assert (outcome.problem.slug, outcome.problem.changed) == ("unavailable", "unknown")
