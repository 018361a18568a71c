"""The network of a whole installation: set by its file, guarded from the start, recorded in the real audit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from superagent.app import open_installation
from superagent.core.invocation import Call
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.settings import load
from tests.runtime.net.outside import Names, ok, site
from tests.runtime.net.web import web

plain = Plugin("plain")


@plain.operation(risk=Risk.LOW, effect=Effect.READ)
async def directly(ctx: Context, port: int) -> Nothing:
    """Connect by hand."""
    await asyncio.open_connection("127.0.0.1", port)
    return Nothing()


@plain.operation(risk=Risk.LOW, effect=Effect.READ)
async def undeclared(ctx: Context) -> Nothing:
    """Ask for the network without having declared it."""
    async with ctx.net.dial("a.test", 80):
        return Nothing()


async def test_an_installation_connects_by_name_only_and_writes_it_down(tmp_path: Path) -> None:
    (tmp_path / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\n')
    names = Names({"a.test": ["127.0.0.1"]})
    async with (
        site(ok(b"hello")) as there,
        open_installation(load(tmp_path, environ={}), extra=(web, plain), resolve=names) as here,
    ):
        here.network.guard.declare("127.0.0.1", 1)  # not the port that is tried
        owner = await here.owner()

        async def run(operation: str, **input: object) -> str:
            outcome = await here.kernel.run(Call(operation, dict(input)), owner, "cli")
            return outcome.problem.slug if outcome.problem else str(outcome.result())

        assert await run("plain.directly", port=there.port) == "denied"
        assert await run("plain.undeclared") == "internal"
        assert there.connections == 0
        here.network.guard.declare("127.0.0.1", 0)  # the server of this test talks to itself
        assert "hello" in await run("web.get", url=f"http://a.test:{there.port}/")
        assert await run("web.get", url="http://none.test/") == "unavailable"
        await here.audit.flush()
        tenant = owner.tenant
        crossed, _ = await here.index.query(tenant, operation="egress.connection")
        refused, _ = await here.index.query(tenant, operation="egress.refused")
        assert [one["detail"]["sent"] for one in crossed] == [there.received]
        assert [(one["detail"]["by"], one["detail"]["inside"]) for one in refused] == [("code", "plain.directly")]


def test_a_command_line_that_uses_no_network_does_not_load_its_libraries() -> None:
    code = "import sys, superagent.app; print({'httpcore', 'h11', 'cryptography.x509'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
