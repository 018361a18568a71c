"""What a person approved is what comes to stand there, also when its source changes in the very last moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from superagent.core.redeeming import Redeeming
from tests.features.jobs.asking import ended
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Do something between the moment when an approval is compared and the effect."""
    compared = Redeeming.approved

    async def approved(self: Redeeming, *given: Any) -> Any:
        ticket = await compared(self, *given)
        change()
        return ticket

    monkeypatch.setattr(Redeeming, "approved", approved)


@pytest.mark.parametrize("operation", ["files.copy", "files.move"])
@pytest.mark.parametrize("evil", [False, True])
async def test_a_source_that_changes_after_the_approval_is_not_what_comes(
    house: House, operation: str, evil: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent: Caller = await house.agent()
    await agent.done("files.mkdir", {"path": "from"})
    await agent.done("files.write", {"path": "from/pre-commit", "content": "harmless\n"})
    if evil:
        changing(monkeypatch, lambda: (agent.workspace / "from" / "pre-commit").write_text("evil\n"))

    asked = await agent.call(operation, {"source": "from", "target": ".husky"})
    id = asked.headers["x-invocation-id"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    job = await ended(agent, id, "failed" if evil else "done")

    there = agent.workspace / ".husky" / "pre-commit"
    if not evil:
        assert there.read_text() == "harmless\n"
        return
    assert job["outcome"]["problem"]["type"] == "/problems/conflict"
    assert any(one["problem"] == "conflict" for one in await house.records(invocation=id))
    assert not there.exists()
    assert (agent.workspace / "from" / "pre-commit").exists()


@pytest.mark.parametrize("evil", [False, True])
async def test_an_archive_that_changes_after_the_approval_is_not_unpacked(
    house: House, evil: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent: Caller = await house.agent()
    for text in ("evil", "harmless"):
        await agent.done("files.mkdir", {"path": f"{text}/hooks", "parents": True})
        await agent.done("files.write", {"path": f"{text}/hooks/pre-commit", "content": f"{text}\n"})
        await agent.done("files.archive", {"paths": [f"{text}/hooks"], "target": f"{text}.zip"})
    if evil:
        changing(monkeypatch, lambda: (agent.workspace / "evil.zip").rename(agent.workspace / "harmless.zip"))

    asked = await agent.call("files.extract", {"archive": "harmless.zip", "target": ".husky"})
    id = asked.headers["x-invocation-id"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    job = await ended(agent, id, "failed" if evil else "done")

    if evil:
        assert job["outcome"]["problem"]["type"] == "/problems/conflict"
        assert any(one["problem"] == "conflict" for one in await house.records(invocation=id))
        assert not (agent.workspace / ".husky").exists()
        return
    found = list((agent.workspace / ".husky").rglob("pre-commit"))
    assert [one.read_text() for one in found] == ["harmless\n"]
