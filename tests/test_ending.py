"""A server that is told to stop ends in time, also while a thread of it works on, and its record is whole."""

from __future__ import annotations

import concurrent.futures
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.crash.platform import Server, records, serving
from tests.promise import promise
from tests.runtime.hosted.here import plugin_in
from tests.until import until

HOLDS = '''
"""Holds: keeps a thread at work."""
import time
from pathlib import Path

from superagent.sdk import Context, Effect, Nothing, Plugin, Risk

plugin = Plugin("holds")


@plugin.operation(risk=Risk.LOW, effect=Effect.CHANGE, irreversible="it is only a while", timeout_s=1200.0)
async def on(ctx: Context, mark: str) -> Nothing:
    """Keep a thread at work for a quarter of an hour."""

    def work() -> None:
        Path(mark).touch()
        end = time.monotonic() + 900
        while time.monotonic() < end:
            time.sleep(0.05)

    await ctx.thread(work)
    return Nothing()
'''
GRACE_S = 5
PATIENCE_S = 120.0


@promise("1.4")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_thread_at_work_does_not_hold_up_the_end(tmp_path: Path, workers: int) -> None:
    data, mark = tmp_path / "data", tmp_path / "mark"
    plugin_in(data / "plugins" / "holds", HOLDS)
    settings = f'[plugins]\ntrusted = ["holds"]\n[server]\nstop_grace_s = {GRACE_S}\nworkers = {workers}\n'
    (data / "superagent.toml").write_text(settings)
    server = Server(data)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.key}"}, timeout=600)
        held = pool.submit(client.post, "/v1/operations/holds.on", json={"mark": str(mark)})
        until(mark.exists, "the thread", PATIENCE_S)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(PATIENCE_S)
        took = time.monotonic() - began
        with pytest.raises(httpx.HTTPError):
            held.result(PATIENCE_S)
    assert took < PATIENCE_S, f"it took {took:.0f} s; the thread works for 900"
    assert code == (1 if workers == 1 else 0)

    left = records(data)
    assert [one.get("operation") for one in left].count("platform.cut_off") == 1  # of two workers one held the thread
    (intent,) = [one for one in left if one.get("operation") == "holds.on"]
    assert intent["kind"] == "intent"
    with serving(data) as again:
        assert again.call("audit.verify")["ok"]
        told = again.call("audit.query", invocation=intent["invocation"])["records"]
        assert [(one["kind"], one.get("status", "")) for one in told] == [("outcome", "unknown"), ("intent", "")]
