"""The frame: health, documentation, metrics, OpenAPI, llms.txt, and what is not built yet."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from superagent.core.calls import call_from
from superagent.core.problems import InvalidInput, every_problem
from superagent.surfaces.http import frame
from superagent.surfaces.http.frame import COMING
from superagent.surfaces.http.request import STEERS
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("6.1")
async def test_health_is_a_status_word_and_nothing_else(house: House) -> None:
    for path in ("/health/live", "/health/ready"):
        response = await house.stranger.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


@promise("6.1")
async def test_it_is_not_ready_when_the_audit_is_in_trouble(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(house.installation.audit), "trouble", property(lambda _: "the disk is full at /x"))

    ready, live = await house.stranger.get("/health/ready"), await house.stranger.get("/health/live")

    assert (ready.status_code, ready.json()) == (503, {"status": "failing"})
    assert live.status_code == 200


async def test_the_root_leads_to_the_documentation(house: House) -> None:
    response = await house.stranger.get("/", follow_redirects=True)

    assert response.status_code == 200
    assert "POST /v1/operations/{name}" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


@promise("1.6a")
async def test_every_problem_has_its_page(house: House) -> None:
    for kind in every_problem():
        response = await house.stranger.get(f"/problems/{kind.slug}")
        assert kind.title() in response.text
        assert f"HTTP {kind.status}" in response.text
    problem_of(await house.stranger.get("/problems/nonsense"), 404, "not-found")


@promise("6.1")
@pytest.mark.parametrize("prefix", COMING)
async def test_what_no_issue_has_brought_yet_says_so(house: House, prefix: str) -> None:
    for path in (prefix, f"{prefix}/more"):
        response = await house.owner.get(path)
        assert "not part of this version" in problem_of(response, 503, "unavailable")["detail"]


async def test_what_nobody_ever_promised_is_not_found(house: House) -> None:
    for path in ("/nothing", "/mcpx", "/docs/", "/v2/operations", "/ui.html"):
        problem_of(await house.owner.get(path), 404, "not-found")
    problem_of(await house.owner.http.post("/health/live"), 404, "not-found")


@promise("6.1")
async def test_metrics_count_calls_by_operation_and_status(house: House) -> None:
    def counted(text: str) -> float:
        found = re.search(r'call_seconds_count\{operation="access.whoami",status="done",worker="0"\} (\d+)', text)
        return float(found[1]) if found else 0.0

    before = counted((await house.owner.get("/metrics")).text)
    for _ in range(3):
        await house.owner.done("access.whoami")
    await house.owner.call("probe.broken")

    response = await house.owner.get("/metrics")

    text = response.text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert counted(text) == before + 3
    assert 'operation="probe.broken",status="failed"' in text
    buckets = re.findall(r'bucket\{operation="access.whoami",status="done",worker="0",le="([^"]+)"\} (\d+)', text)
    assert buckets[-1][0] == "+Inf"
    assert [int(count) for _, count in buckets] == sorted(int(count) for _, count in buckets)
    assert int(buckets[-1][1]) == counted(text)
    assert 'superagent_audit_healthy{worker="0"} 1' in text


@promise("6.1")
async def test_llms_txt_lists_one_line_for_each_operation(house: House) -> None:
    text = (await house.owner.get("/llms.txt")).text

    listed = re.findall(r"^- ([a-z._]+): ", text, re.MULTILINE)
    assert listed == sorted(one.name for one in house.installation.kernel.registry)


@promise("6.1")
async def test_the_openapi_document_describes_every_operation_and_route(house: House) -> None:
    document = (await house.owner.get("/openapi.json")).json()

    names = {path.removeprefix("/v1/operations/") for path in document["paths"] if path.startswith("/v1/operations/")}
    assert names - {"{name}"} == {one.name for one in house.installation.kernel.registry}
    assert {"/v1/batch", "/v1/stream", "/v1/events", "/v1/blobs", "/v1/results/{handle}/raw"} < set(document["paths"])
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": house.address}]
    assert set(references(document)) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


@promise("6.1")
async def test_the_openapi_document_says_all_that_steers_a_call(house: House) -> None:
    document = (await house.owner.get("/openapi.json")).json()

    for path in ("/v1/operations/files.write", "/v1/operations/access.whoami", "/v1/invocations/{id}/undo"):
        found = {
            (one["in"], one["name"].lower()): one["schema"] for one in document["paths"][path]["post"]["parameters"]
        }
        headers = {name for where, name in found if where == "header"}
        assert headers == {name.decode() for name in STEERS} - {"prefer"}, path  # which is HTTP's own (RFC 7240)
        assert found["query", "dry_run"] == {"type": "boolean"}
        for level in found["header", "superagent-isolation"]["enum"]:
            dry = await house.owner.call("access.whoami", Superagent_Isolation=level, X_Dry_Run="true")
            assert dry.json()["status"] == "previewed", level
    described = document["components"]["schemas"]["Call"]["properties"]
    with pytest.raises(InvalidInput) as refused:
        call_from({"nothing": 1}, "$")
    assert refused.value.hint == f"a call has {', '.join(described)}"


async def test_the_document_is_made_once_for_all_who_see_the_same_and_never_for_who_sees_less(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a twentieth of a second, so that one key's rate of them would hold up everybody."""
    made, make = list[int](), frame.document

    def counted(*about: Any) -> dict[str, Any]:
        made.append(1)
        return make(*about)

    monkeypatch.setattr(frame, "document", counted)
    frame._written.cache_clear()  # pyright: ignore[reportPrivateUsage]
    one, two = await house.agent(), await house.agent()

    found = [(await who.get("/openapi.json")).json() for who in (one, house.owner, two, one)]
    named = (await one.get("/openapi.json", Host='a"b.example')).json()

    assert len(made) == 2
    assert found[0] == found[2] == found[3]
    assert set(found[0]["paths"]) < set(found[1]["paths"])
    assert named["paths"] == found[0]["paths"]
    assert len(named["servers"]) == 1


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for one in cast("list[Any]", value) for found in references(one)]
    if not isinstance(value, dict):
        return []
    entries = cast("dict[str, Any]", value)
    own = [entries["$ref"]] if isinstance(entries.get("$ref"), str) else []
    return own + [found for one in entries.values() for found in references(one)]


@promise("1.6")
async def test_a_frame_that_breaks_answers_with_an_id(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no list today")

    monkeypatch.setattr(house.installation.kernel.registry, "visible_to", broken)

    response = await house.owner.get("/llms.txt")

    assert problem_of(response, 500, "internal")["invocation"] == response.headers["x-invocation-id"]
    assert "no list today" not in response.text
