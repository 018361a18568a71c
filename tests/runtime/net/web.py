"""A plugin that uses the network, and a kernel in memory whose network is real but for the names."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from superagent.core.grants import Grant, Where
from superagent.core.invocation import Outcome
from superagent.core.principal import Principal
from superagent.runtime.net.network import open_network
from superagent.sdk import Context, Effect, Output, Plugin, Risk, Touches
from superagent.testing import World, agent
from tests.runtime.net.outside import LOOPBACK, Names

Page = Annotated[str, Touches("host", Effect.READ)]
BY: Principal = agent()

web = Plugin("web", reaches=("net",))


class Got(Output):
    status: int = 0
    body: str = ""
    url: str = ""


@web.operation(risk=Risk.LOW)
async def get(
    ctx: Context,
    url: Page,
    headers: dict[str, str] = {},  # noqa: B006 - pydantic copies it
    max_bytes: int = 1000,
    timeout_s: float = 10.0,
    follow: int = 5,
) -> Got:
    """Fetch a page."""
    found = await ctx.net.http.request(
        "GET", url, headers=headers.items(), max_bytes=max_bytes, timeout_s=timeout_s, follow=follow
    )
    return Got(status=found.status, body=found.body.decode(), url=found.url)


@web.operation(risk=Risk.LOW, effect=Effect.CHANGE, irreversible="it is sent")
async def send(ctx: Context, url: str, content: str, method: str = "POST") -> Got:
    """Send something; where to is judged on the way only."""
    found = await ctx.net.http.request(
        method, url, content=content.encode(), headers=[("Content-Type", "text/plain"), ("X-Api-Key", "hidden-key")]
    )
    return Got(status=found.status, body=found.body.decode(), url=found.url)


@web.operation(risk=Risk.LOW, effect=Effect.CHANGE, irreversible="it is sent")
async def say(ctx: Context, host: str, port: int, text: str) -> Got:
    """Say something to a bare port and give what comes back."""
    async with ctx.net.dial(host, port, timeout_s=5.0) as wire:
        await wire.send(text.encode())
        return Got(body=(await wire.receive()).decode())


@asynccontextmanager
async def world(
    names: Names, *hosts: str, deny: tuple[str, ...] = (), allow: tuple[str, ...] = LOOPBACK, ca_file: str = ""
) -> AsyncGenerator[World]:
    """Open a kernel where everybody may get these hosts (all if none is named), and send anywhere but where denied."""
    grants = [
        Grant(effect="allow", subject="*", operations=["web.get"], where=Where(hosts=[*hosts] or ["*"])),
        Grant(effect="allow", subject="*", operations=["web.send", "web.say"]),
    ]
    if deny:
        grants.append(Grant(effect="deny", subject="*", operations=["*"], where=Where(hosts=[*deny])))
    made = World(web, grants=grants)
    with open_network(made.audit.note, made.clock.now, allow_private=allow, ca_file=ca_file, resolve=names) as network:
        network.guard.declare("127.0.0.1", 0)  # the servers of these tests talk to themselves
        made.kernel.hands.capabilities["net"] = network.reach
        yield made


def egress(here: World, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Give (resource, detail) of the egress records."""
    found = [one for one in here.audit.records if one.operation == f"egress.{kind}"]
    return [(one.resources[0][0], one.detail) for one in found]


def refused(outcome: Outcome, slug: str) -> str:
    """Check that a call was refused so, and give the detail."""
    assert outcome.problem is not None, outcome
    assert outcome.problem.slug == slug, outcome.problem.detail
    return outcome.problem.detail
