"""Databases: one row by `sql.query`, beside the bare driver doing as much and the trivial operation."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench import baselines
from bench.figures import median
from bench.in_process import Receive, Send, Target, call, loop_of, scope_of
from bench.plan import Plan
from bench.rows import Row
from bench.servers import owner_headers
from superagent.app import open_installation
from superagent.asgi import application
from superagent.settings import load
from tests.postgresql import Server, server

CALLS, REPEATS = 100, 7
ONE = "SELECT who FROM orders WHERE id = 7"


def rows(plan: Plan) -> list[Row]:
    """Call each in loops in turn, on one server; CPU time of this process, all threads."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with server(port=port) as place:
        place.run("CREATE TABLE orders (id int PRIMARY KEY, who text)")
        place.run("INSERT INTO orders SELECT n, 'row ' || n FROM generate_series(1, 1000) s(n)")
        found = uvloop.run(_measured(plan, place))
    plan.raw["database"] = found
    return [
        Row(
            "database.query_over_driver",
            _ratio(found, "driver"),
            at_most=1.5,
            source="issue",
            note="CPU of `sql.query` of one row over that of the driver (connect, begin reading, read) and the trivial"
            " operation; the driver connects for each call, `sql.query` takes a connection that rests",
        ),
        Row(
            "database.query_over_kept_driver",
            _ratio(found, "kept_driver"),
            note="the same over a driver that keeps its connection, and neither judges nor resets anything",
        ),
        *(Row(f"database.{name}", min(times), "µs") for name, times in found.items()),
    ]


def _ratio(found: dict[str, list[float]], driver: str) -> float:
    every = zip(found["query"], found[driver], found["trivial"], strict=True)
    return median([one / (bare + trivial) for one, bare, trivial in every])


async def _measured(plan: Plan, place: Server) -> dict[str, list[float]]:
    data = plan.place("database") / "data"
    data.mkdir(mode=0o700)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.0/8"]\n')
    async with open_installation(load(data, {}, {})) as installation:
        app = application(installation)
        await _asked(
            app,
            data,
            "connections.create",
            {
                "name": "bench",
                "type": "postgresql",
                "endpoint": f"postgresql://127.0.0.1:{place.port}/postgres",
                "options": {"user": "postgres", "tls": "off"},
            },
        )
        body = json.dumps({"connection": "bench", "sql": ONE}).encode()
        answer = await _asked(app, data, "sql.query", {"connection": "bench", "sql": ONE})
        if b"row 7" not in answer:
            raise RuntimeError(f"sql.query answers {answer[:300]!r}")
        headers = owner_headers(data)
        with psycopg.connect(**_place(place)) as kept:
            targets = {
                "query": Target(app, scope_of("/v1/operations/sql.query", headers, body), body),
                "driver": Target(_driver(lambda: psycopg.connect(**_place(place))), scope_of("/", {})),
                "kept_driver": Target(_driver(lambda: nullcontext(kept)), scope_of("/", {})),
                "trivial": Target(app, scope_of(baselines.PATH, headers)),
            }
            return await _looped(plan, targets)


async def _looped(plan: Plan, targets: dict[str, Target]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in targets}
    for target in targets.values():
        await loop_of(target, CALLS)
    for _ in range(REPEATS):
        for name in plan.draw.sample(list(targets), len(targets)):
            found[name].append(await loop_of(targets[name], CALLS))
    return found


async def _asked(app: Any, data: Path, operation: str, input: dict[str, Any]) -> bytes:
    body = json.dumps(input).encode()
    target = Target(app, scope_of(f"/v1/operations/{operation}", owner_headers(data), body), body)
    status, answer = await call(target)
    if status != 200:
        raise RuntimeError(f"{operation} answers {status} {answer[:300]!r}")
    return answer


def _place(place: Server) -> dict[str, Any]:
    return {
        "host": "127.0.0.1", "port": place.port, "user": "postgres", "dbname": "postgres", "autocommit": True,
        "sslmode": "disable",
    }  # fmt: skip


def _driver(connected: Callable[[], AbstractContextManager[psycopg.Connection[Any]]]) -> Any:
    """Give an application that does nothing but read the row with the driver, as whoever needs no line would."""

    def read() -> bytes:
        with connected() as made:
            made.execute("BEGIN READ ONLY")
            found = made.execute(ONE).fetchall()
            made.execute("ROLLBACK")
            return json.dumps(found).encode()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        answer = await asyncio.to_thread(read)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    return app
