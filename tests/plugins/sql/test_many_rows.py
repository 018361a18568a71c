"""Millions of rows through a real server process: its memory does not grow with them, and who goes ends the work."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import mariadb, postgresql
from tests.crash.platform import Server, serving
from tests.plugins.sql.ground import PASSWORD
from tests.promise import promise
from tests.until import until

MAKING = {
    "postgresql": "INSERT INTO many SELECT n, 'row ' || n, repeat('x', 80) FROM generate_series(1, {count}) s(n)",
    "mariadb": "INSERT INTO many SELECT seq, concat('row ', seq), repeat('x', 80) FROM seq_1_to_{count}",
}
ALL = "SELECT id, who, note FROM many"
ROOM_MB = 96  # what a stream may take more than one of a few rows, whatever its length


class Rows:
    """A table of many rows, and a server process that reads it through a connection."""

    def __init__(self, kind: str, server: Any, place: Server, count: int) -> None:
        self._kind, self._server, self.place, self.count = kind, server, place, count
        server.run("DROP DATABASE IF EXISTS rows_")
        server.run("CREATE DATABASE rows_")
        server.run("CREATE TABLE many (id int PRIMARY KEY, who varchar(40), note varchar(100))", "rows_")
        server.run(MAKING[kind].format(count=count), "rows_")
        given: dict[str, Any] = {"options": {"user": "postgres", "tls": "off"}}
        if kind == "mariadb":
            place.call("secrets.put", name="password", value=PASSWORD)
            given = {"options": {"user": "app", "tls": "off"}, "secret": "password"}
        scheme = "mysql" if kind == "mariadb" else kind
        endpoint = f"{scheme}://127.0.0.1:{server.port}/rows_"
        place.call("connections.create", name="db", type=kind, endpoint=endpoint, **given)

    @contextmanager
    def streamed(self, sql: str) -> Generator[Generator[dict[str, Any]]]:
        """Follow a stream for a block, line by line."""
        asked = {"connection": "db", "sql": sql, "max_rows": 10_000_000, "max_bytes": 1024**3}
        lines = {"accept": "application/x-ndjson"}
        with (
            httpx.Client(base_url=self.place.url, headers={"authorization": f"Bearer {self.place.key}"}) as client,
            client.stream("POST", "/v1/operations/sql.stream", json=asked, headers=lines, timeout=60.0) as reply,
        ):
            assert reply.status_code == 200
            yield (json.loads(line) for line in reply.iter_lines())

    def counted(self, sql: str) -> int:
        """Follow a stream to its end; gives how many rows came, each the one after the one before."""
        rows = 0
        with self.streamed(sql) as lines:
            for line in lines:
                if "event" in line:
                    page = line["event"]["rows"]
                    assert not page or page[0][0] == rows + 1
                    rows += len(page)
                else:
                    assert line["status"] == "done", line
        return rows

    def peak_mb(self) -> int:
        """Give the most memory that the server process has had so far."""
        told = Path(f"/proc/{self.place.process.pid}/status").read_text()
        return int(told.partition("VmHWM:")[2].split()[0]) // 1024

    def open(self) -> list[Any]:
        """Give what the platform has open on the server."""
        if self._kind == "postgresql":
            text = "SELECT pid FROM pg_stat_activity WHERE application_name = 'superagent' AND datname = 'rows_'"
        else:
            text = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'"
        return self._server.run(text)


@contextmanager
def many(kind: str, request: pytest.FixtureRequest, folder: Path, count: int) -> Generator[Rows]:
    server: postgresql.Server | mariadb.Server = request.getfixturevalue("pg" if kind == "postgresql" else "maria")
    data = folder / "data"
    data.mkdir(mode=0o700)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.0/8"]\n')
    with serving(data) as place:
        yield Rows(kind, server, place, count)


def streams(rows: Rows) -> tuple[int, int]:
    """Follow few rows, and then all; gives the most memory after each in MB."""
    assert rows.counted(f"{ALL} WHERE id <= 2000 ORDER BY id") == 2000
    first = rows.peak_mb()
    assert rows.counted(f"{ALL} ORDER BY id") == rows.count
    then = rows.peak_mb()
    assert then - first < ROOM_MB, (first, then)
    return first, then


def goes(rows: Rows) -> None:
    """Follow many rows and go in the middle: nothing is left open on the server."""
    with rows.streamed(f"{ALL} ORDER BY id") as lines:
        assert next(lines)["event"]["columns"] == ["id", "who", "note"]
        assert len(next(lines)["event"]["rows"]) > 1
        assert rows.open()
    until(lambda: not rows.open(), "the end of what it did on the server")


@pytest.mark.slow
@promise("3.7a")
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_long_stream_takes_no_more_memory_than_a_short_one(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with many(kind, request, tmp_path, 100_000) as rows:
        streams(rows)
        goes(rows)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_two_million_rows_take_no_more_memory_than_two_thousand(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with many(kind, request, tmp_path, 2_000_000) as rows:
        first, then = streams(rows)
        record_property("MB after 2,000 rows", first)
        record_property("MB after 2,000,000 rows", then)
        goes(rows)
