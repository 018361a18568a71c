"""What lasts as long as the process is not walked by the garbage collector again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.surfaces.cli.command_line import PATIENCE_S, environment

SERVE = """
import asyncio, gc, os, signal, sys
from pathlib import Path
from superagent import asgi
from superagent.runtime.net.listening import listen
from superagent.settings import load
from superagent.surfaces.http.door import Door

async def at_once(door):
    print(gc.get_freeze_count(), flush=True)

async def ended():
    while not gc.get_freeze_count():
        await asyncio.sleep(0.05)
    print(gc.get_freeze_count(), *gc.get_threshold(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

async def serve(data):
    with listen("127.0.0.1", 0) as listening:
        await asyncio.gather(asgi.serve_one(load(data, {}, {}), listening, "0", lambda _: None), ended())

Door.warm = at_once  # it waits and loads what the first client of MCP will need
asyncio.run(serve(Path(sys.argv[1])))
"""


def test_a_server_that_is_warm_has_put_what_lasts_out_of_the_collectors_reach(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SERVE, str(tmp_path / "data")]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment())

    warm, then = said.stdout.splitlines()
    frozen, youngest, *_ = (int(number) for number in then.split())
    assert warm == "0"
    assert frozen > 50_000  # of what an installation and its libraries are made
    assert youngest >= 10_000
