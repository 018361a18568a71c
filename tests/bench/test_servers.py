"""A server that is measured is the one that was started here, and it is gone afterwards."""

from __future__ import annotations

import random
import socket
import sys
from pathlib import Path

import pytest

from bench import servers
from bench.baselines import ANSWER
from bench.proc import processes
from bench.rounds import interleaved
from bench.wrk import Request
from tests.needs import program

# above the highest number that Linux gives to a process
GONE = 1 << 22


def test_a_port_that_somebody_holds_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stale:
        port = stale.getsockname()[1]
        refused = servers.started("ours", [sys.executable, "-c", ""], port, tmp_path, Request("/"), bool)
        with pytest.raises(RuntimeError, match="stale"), refused:
            pytest.fail("it was served")


def test_a_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such setting')"]
    broken = servers.started("ours", argv, servers.free_port(), tmp_path, Request("/"), bool)
    with pytest.raises(RuntimeError, match=r"exit code 1.*no such setting"), broken:
        pytest.fail("it was served")


@pytest.mark.slow
def test_a_baseline_is_served_checked_and_ended(tmp_path: Path) -> None:
    with servers.plain_fastapi(tmp_path) as server:
        assert server.ask()[0] == 200
        other = servers.Server("other", GONE, server.port, server.request, server.right)
        with pytest.raises(RuntimeError, match="does not belong"):
            other.check()
        wrong = servers.Server("wrong", server.pid, server.port, Request("/nowhere"), server.right)
        with pytest.raises(RuntimeError, match="answers 404"):
            wrong.check()
    assert server.pid not in {process.pid for process in processes()}


@pytest.mark.slow
def test_rounds_load_every_server_and_read_what_it_used(tmp_path: Path) -> None:
    program("wrk")
    program("nginx", "nginx-light")
    said: list[str] = []
    with servers.nginx(tmp_path) as nginx, servers.bare_starlette(tmp_path) as starlette:
        assert nginx.ask() == (200, ANSWER)
        found = interleaved([nginx, starlette], 1, 1.0, 8, random.Random(1), said.append)
    assert len(said) == 2
    for (sample,) in found.values():
        assert sample.requests > 0
        assert sample.cpu_us > 0
        assert sample.rss_mib > 1
        assert sample.errors == 0
