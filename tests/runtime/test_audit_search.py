"""Whatever is searched for, the index gives exactly what reading every line would, page by page and in one order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from superagent.core.audit import AuditRecord
from superagent.data.database import open_database
from superagent.runtime import audit_index, audit_tail
from superagent.runtime.audit_index import AREA, AuditIndex, IndexedRecord
from tests.runtime.audit_book import a_log
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")

ACTORS = ["agent:coder", "agent:bot", "user:ann", 'agent:ü\n"\\x', "agent:"]
OPERATIONS = ["files.read", "files.write", "filesystem.x", "access.whoami", "", 'a"b\\c.d', "ns.\x00"]
RESOURCES = ["path://local/srv/a", "path://local/srv/a/b", "path://local/srv/ab", "path://local/ü", 'path://local/"q"']
TEXTS = ["Hello WORLD ✓", "straße", "nothing", 'said "so"', "tab\there", "İstanbul"]
OPENED = {"sealed-1": "192.0.2.7\n", "sealed-2": "192.0.2.8\nfor a REASON"}
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
START = 1_800_000_000.0
RECORDS, SEARCHES = 150, 12


def an_id(draw: random.Random, at: float) -> str:
    """Give the id of a call that began about a time: a ULID, sometimes of another time, sometimes none."""
    if draw.random() < 0.1:
        return draw.choice(["call-1", "", "z" * 70, "01", "0" * 26])
    late = draw.choice([0.0, 0.0, 0.01, 3.0, 5.0, 5.001, 60.0, 86400.0, -3.0, -3600.0])
    number = int((at - late) * 1000) << 80 | draw.getrandbits(3)
    return "".join(LETTERS[number >> shift & 31] for shift in range(125, -5, -5))


def a_record(draw: random.Random, number: int) -> AuditRecord:
    at = START + draw.choice([number, number, number // 10, draw.randrange(RECORDS), 0]) + draw.choice([0.0, 0.25])
    return AuditRecord(
        kind=draw.choice(["outcome", "intent", "refused", "event"]),
        at=at,
        invocation=an_id(draw, at),
        tenant=draw.choice(["default", "default", "default", "acme", ""]) if number > RECORDS // 4 else "default",
        who=draw.choice(ACTORS),
        chain_of=tuple(draw.sample(ACTORS, draw.randrange(3))),
        operation=draw.choice(OPERATIONS),
        resources=tuple((name, "READ") for name in draw.sample(RESOURCES, draw.choice([0, 0, 1, 2]))),
        personal=draw.choice(["", "sealed-1", "sealed-2", "erased"]),
        detail={"said": draw.choice(TEXTS)} if draw.random() < 0.3 else {},
    )


def a_search(draw: random.Random, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw some of the filters, mostly with values that occur."""
    one = draw.choice(records)
    every: dict[str, Any] = {
        "actor": draw.choice([*ACTORS[:4], "agent:nobody"]),
        "operation": draw.choice([*OPERATIONS[:4], "files.*", "file*", "*", 'a"*', "ns.\x00", "files."]),
        "resource": draw.choice([*RESOURCES, "path://", "path://local/srv/a/", "sql://", 'path://local/"']),
        "invocation": one.get("invocation") or "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "since": one["at"],
        "until": one["at"] + draw.choice([0, 1, 50]),
        "text": draw.choice(["hello world ✓", "STRASSE", '"so"', "\t", "192.0.2", "Reason", "nowhere", "ms.", "i̇st"]),
    }
    names = draw.sample(list(every), draw.choice([0, 1, 1, 1, 2, 2, 3]))
    return {name: every[name] for name in names}


def fits(text: str, wanted: dict[str, Any]) -> bool:
    """Say whether a line is one of those, from what the filters promise."""
    record = json.loads(text)
    who, operation, at = record.get("who", ""), record.get("operation", ""), record["at"]
    name = wanted.get("operation", "*")
    said = json.dumps(wanted.get("text", ""), ensure_ascii=False)[1:-1].casefold()
    opened = OPENED.get(record.get("personal", ""), "")
    return all(
        (
            "actor" not in wanted or wanted["actor"] in (who, [who, *record.get("chain_of", ())][-1]),
            operation.startswith(name[:-1]) if name.endswith("*") else operation == name,
            "resource" not in wanted
            or any(one.startswith(wanted["resource"]) for one, _ in record.get("resources", ())),
            wanted.get("invocation") in (None, record.get("invocation")),
            wanted.get("since", 0.0) <= at < wanted.get("until", float("inf")),
            said in text.casefold() or wanted.get("text", "").casefold() in opened.casefold(),
        )
    )


async def every_page(index: AuditIndex, tenant: str, limit: int, wanted: dict[str, Any]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    cursor: str | None = None
    while True:
        before = cursor
        page, cursor = await index.query(tenant, **wanted, limit=limit, cursor=cursor)
        assert len(page) <= limit
        assert cursor is None or cursor != before, "it does not get on"
        found += [(one["chain"], one["seq"]) for one in page]
        if cursor is None:
            return found


async def the_feed(index: AuditIndex, tenant: str, limit: int) -> list[IndexedRecord]:
    found: list[IndexedRecord] = []
    while some := await index.after(tenant, found[-1].number if found else 0, limit):
        found += some
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_every_search_gives_what_reading_every_line_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(audit_tail, "BLOCK_BYTES", draw.choice([1, 1500, 6000, 1 << 18]))
    monkeypatch.setattr(audit_index, "AT_ONCE_BYTES", draw.choice([1, 2000, 1 << 20]))
    monkeypatch.setattr(audit_index, "CATCH_UP_S", 60.0)
    monkeypatch.setattr(audit_index, "BLOCKS_AT_ONCE", draw.choice([1, 3, 32]))
    monkeypatch.setattr(audit_index, "MOST_SEARCHED", draw.choice([25, 60, 1 << 20]))
    directory = tmp_path / "audit"
    database = await open_database(where(tmp_path / "index.db"), [AREA])
    logs = [a_log(directory, epoch) for epoch in ("01A", "01B", "01C")]
    for log in logs:
        log.start()
    index = AuditIndex(database, directory, open_personal=OPENED.get)
    for number in range(RECORDS):
        await draw.choice(logs).durable(a_record(draw, number))
        if draw.random() < 0.1:
            index = AuditIndex(database, directory, open_personal=OPENED.get)  # it goes on where the other was
            await index.query("default", limit=1)

    await index.query("default", limit=1)
    lines = {
        (path.parent.name, json.loads(line[:-65])["seq"]): line[:-65]
        for path in directory.rglob("*.seg")
        for line in path.read_text("utf-8").split("\n")[:-1]
        if json.loads(line[:-65])["kind"] != "segment"
    }
    for tenant in ("default", "acme", "system"):
        own = {key: text for key, text in lines.items() if (json.loads(text).get("tenant") or "system") == tenant}
        feed = await the_feed(index, tenant, draw.choice([1, 7, 1000]))
        numbers = {(one.record["chain"], one.record["seq"]): one.number for one in feed}
        assert sorted(numbers) == sorted(own)
        assert [one.number for one in feed] == sorted(set(numbers.values()))
        assert await index.newest(tenant) == feed[-1].number
        order = sorted(own, key=lambda key: (json.loads(own[key])["at"], numbers[key]), reverse=True)
        for _ in range(SEARCHES):
            wanted = a_search(draw, [json.loads(text) for text in own.values()])
            found = await every_page(index, tenant, draw.choice([9, 50, 1000]), wanted)
            assert found == [key for key in order if fits(own[key], wanted)], wanted
    assert await index.rebuild() == len(lines)
    for log in logs:
        await log.close()
    await database.close()
