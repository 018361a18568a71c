"""Network and commands of a hosted plugin: done by the server, judged for the call, recorded as any other's."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from superagent.core.problems import Denied, Unavailable
from tests.runtime.hosted.here import Here, plugin_in, with_plugin
from tests.runtime.net.outside import Names, Site, ok, site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SOURCE = '''
"""Out: goes out and runs things."""
import os
from typing import Annotated
from superagent.sdk import Command, Context, Effect, Output, Plugin, Risk, Touches, Url

out = Plugin("out", reaches=("net", "run", "files"))


class Got(Output):
    """What came back."""

    status: int
    body: str


@out.operation(risk=Risk.LOW, reaches=("net",))
async def fetch(ctx: Context, url: Annotated[str, Touches("host", Effect.READ)], method: str = "GET") -> Got:
    """Fetch a page."""
    found = await ctx.net.http.request(method, url, headers=[("Accept", "text/plain")], max_bytes=1000)
    return Got(status=found.status, body=f"{found.header('x-from')} {found.body.decode()}")


@out.operation(risk=Risk.MEDIUM, irreversible="it is sent", reaches=("net",))
async def send(ctx: Context, url: Url, then: str = "") -> Got:
    """Send something."""
    found = await ctx.net.http.request("POST", url, content=b"hello")
    if then == "leave":
        os._exit(1)
    return Got(status=found.status, body=found.body.decode())


@send.preview
async def _(ctx: Context, url: Url, then: str = ""):
    await ctx.net.http.request("POST", url, content=b"hello")


@out.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, irreversible="it is run", reaches=("run",))
async def who(ctx: Context) -> Got:
    """Run a program in the caller's workspace."""
    ran = await ctx.reach("run").run(Command(["sh", "-c", "cat; id -u; pwd"], stdin=b"in ", profile="read-only"))
    return Got(status=ran.ended.code, body=ran.stdout.text)


@out.operation(risk=Risk.LOW, effect=Effect.READ, reaches=("net", "files"))
async def lacks(ctx: Context, what: str) -> Got:
    """Use what a hosted plugin has not."""
    match what:
        case "dial":
            ctx.net.dial("a.test", 80)
        case "beneath":
            await ctx.files.beneath("/")
        case "ticket":
            ctx.ticket
    return Got(status=0, body="")
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncGenerator[Site]:
    async with site(ok(b"page", "X-From: there")) as there:
        yield there


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory, there: Site) -> AsyncGenerator[Here]:
    at = tmp_path_factory.mktemp("out")
    folder = plugin_in(at / "made" / "out", SOURCE, reaches=["net", "run", "files"])
    net = '[net]\nallow_private = ["127.0.0.1/32"]'
    names = Names({"a.test": ["127.0.0.1"]})
    async with with_plugin(at / "data", folder, settings=net, resolve=names, hosted=["out: net run files"]) as here:
        here.installation.network.guard.declare("127.0.0.1", 0)  # the server of this test talks to itself
        yield here


async def test_it_fetches_by_the_servers_client_and_the_record_says_for_whom(here: Here, there: Site) -> None:
    done = await here.run("out.fetch", url=f"http://a.test:{there.port}/x")
    assert done.result() == {"status": 200, "body": "there page"}
    assert (await here.run("out.fetch", url="http://b.test/")).problem is not None
    crossed = await here.records(operation="egress.connection")
    assert [(one["invocation"], one["detail"]["by"]) for one in crossed] == [(done.invocation, "http")]


async def test_what_only_reads_sends_nothing(here: Here, there: Site) -> None:
    before = len(there.asked)
    problem = (await here.run("out.fetch", url=f"http://a.test:{there.port}/x", method="POST")).problem
    assert isinstance(problem, Denied)
    assert problem.detail == "the plugin `out`: `out.fetch` declared the effect READ and no more"
    assert (await here.refusals())[-1]["asked"] == "net.request"
    preview = await here.run("out.send", url=f"http://a.test:{there.port}/x", _dry_run=True)
    assert isinstance(preview.problem, Denied)
    assert len(there.asked) == before


async def test_who_ends_after_it_sent_something_leaves_nobody_sure(here: Here, there: Site) -> None:
    url = f"http://a.test:{there.port}/x"
    assert (await here.run("out.send", url=url)).result() == {"status": 200, "body": "page"}
    problem = (await here.run("out.send", url=url, then="leave")).problem
    assert isinstance(problem, Unavailable)
    assert problem.changed == "unknown"


async def test_it_runs_commands_as_the_platform_does(here: Here) -> None:
    done = await here.run("out.who")
    assert done.result() == {"status": 0, "body": "in 1000\n/workspace\n"}
    assert done.isolation is not None
    assert done.isolation.level == "native"


@pytest.mark.parametrize("what", ["dial", "beneath", "ticket"])
async def test_what_a_hosted_plugin_has_not_it_is_told_with_the_way_around(here: Here, what: str) -> None:
    problem = (await here.run("out.lacks", what=what)).problem
    assert isinstance(problem, Unavailable)
    assert problem.hint
    assert "hosted plugin" in problem.detail
