"""Ways: a driver connects by itself to what was vetted, and each connection is recorded once, as it ends."""

from __future__ import annotations

from typing import Any

import pytest

from superagent.core.audit import AuditRecord
from superagent.core.endpoints import Endpoint, public_or
from superagent.core.problems import AuditUnavailable, Denied, Internal
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.guard import Guard, check
from superagent.runtime.net.journal import Journal, Whose
from superagent.runtime.net.way import Way

WHOSE = Whose("CALL", "default", "ada", operation="sql.query")
NAMES = {"db.test": ["127.0.0.1"], "inner.test": ["10.0.0.1"]}


async def resolve(host: str, port: int) -> Any:
    return NAMES[host]


def way_to(place: str, records: list[AuditRecord]) -> Way:
    journal = Journal(records.append, lambda: 1.0)
    return Way(Endpoint.of_authority(place), Dialer(resolve, public_or(["127.0.0.0/8"])), WHOSE, journal, "")


def permitted(place: tuple[str, int]) -> bool:
    with Guard(lambda call, at, what: None).standing():
        try:
            check(*place)
        except Denied:
            return False
    return True


async def test_what_is_not_kept_ends_with_the_block() -> None:
    records: list[AuditRecord] = []
    way = way_to("db.test:5432", records)
    link = await way.open()
    assert link.address == "127.0.0.1"
    assert permitted(("127.0.0.1", 5432))
    link.crossed(3, 4)
    assert not records
    way.end()
    assert not permitted(("127.0.0.1", 5432))
    link.end()
    (one,) = records
    assert (one.invocation, one.bytes, one.detail["sent"], one.detail["received"]) == ("CALL", 7, 3, 4)


async def test_what_is_kept_serves_others_and_is_recorded_once() -> None:
    records: list[AuditRecord] = []
    first = way_to("db.test:5432", records)
    link = await first.open()
    link.keep()
    first.end()
    assert not records
    second = way_to("db.test:5432", records)
    second.again(link)
    assert permitted(("127.0.0.1", 5432))
    second.end()
    assert not permitted(("127.0.0.1", 5432))
    with pytest.raises(Internal):
        way_to("db.test:5433", records).again(link)
    link.end()
    link.end()
    assert [one.detail["calls"] for one in records] == [2]


async def test_what_is_not_public_is_refused_and_recorded() -> None:
    records: list[AuditRecord] = []
    with pytest.raises(Denied):
        await way_to("inner.test:5432", records).open()
    assert [(one.kind, one.operation, one.detail["address"]) for one in records] == [
        ("refused", "egress.refused", "10.0.0.1")
    ]


async def test_a_log_that_takes_nothing_stops_no_end() -> None:
    def full(record: AuditRecord) -> None:
        raise AuditUnavailable("full")

    way = Way(Endpoint("db.test", 5432), Dialer(resolve, public_or(["127.0.0.0/8"])), WHOSE, Journal(full, float), "")
    await way.open()
    way.end()
    assert not permitted(("127.0.0.1", 5432))
