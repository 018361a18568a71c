"""Two people who use the same application: it acts for each of them apart."""

from __future__ import annotations

import pytest

from tests.features.access.people import person
from tests.features.oauth.parties import application
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def both(house: House) -> tuple[Caller, Caller]:
    """Give one application as it acts for the owner, and as it acts for another person."""
    app, other = await application(house), await person(house, "developer")
    scope = {"scope": "files.* jobs.* result.* undo.*"}
    ours = house.caller(app.id, (await app.tokens(house.owner, **scope))["access_token"])
    return ours, house.caller(app.id, (await app.tokens(other, **scope))["access_token"])


async def test_what_an_application_was_told_for_one_person_it_is_not_told_for_another(house: House) -> None:
    ours, theirs = await both(house)
    await ours.done("files.write", {"path": "plan.txt", "content": "the owner's plan"})
    key = {"Idempotency-Key": "daily"}
    asked = {"path": "plan.txt"}
    mine = await ours.http.post("/v1/operations/files.read", json=asked, headers=key)
    assert mine.json()["output"]["content"] == "the owner's plan"

    other = await theirs.http.post("/v1/operations/files.read", json=asked, headers=key)

    assert "plan" not in problem_of(other, 404, "not-found")["title"]
    assert "the owner's plan" not in other.text


async def test_calls_that_an_application_made_for_one_person_do_not_exist_for_another(house: House) -> None:
    ours, theirs = await both(house)
    made = await ours.call("files.write", {"path": "own.txt", "content": "mine"})
    id = made.json()["invocation"]
    assert (await ours.done("undo.list"))["entries"]

    assert (await theirs.done("undo.list"))["entries"] == []
    problem_of(await theirs.http.get(f"/v1/invocations/{id}"), 404, "not-found")
    problem_of(await theirs.call("jobs.status", {"id": id}), 404, "not-found")
    problem_of(await theirs.call("undo.apply", {"ids": [id]}), 404, "not-found")


async def test_what_an_application_read_for_one_person_marks_it_for_nobody_else(house: House) -> None:
    ours, theirs = await both(house)
    await ours.done("files.read", {"path": "/etc/hostname"})  # what stands outside of its workspace, it did not write

    marks = {one["subject"] for one in (await house.owner.done("access.taint.list"))["marks"]}
    assert {one for one in marks if one.startswith(f"caller:{ours.name}/")} == {f"caller:{ours.name}/owner"}
    for caller, status in ((ours, 202), (theirs, 200)):  # the marked one asks before it destroys, the other does not
        await caller.done("files.write", {"path": "gone.txt", "content": "x"})
        assert (await caller.call("files.delete", {"path": "gone.txt"})).status_code == status
