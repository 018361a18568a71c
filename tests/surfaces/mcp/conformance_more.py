"""The rest of the test-only toolset: prompts, and what goes on as a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from superagent.core.kernel import Kernel
from superagent.core.registry import Registry
from superagent.sdk import (
    Ask,
    Context,
    Document,
    Effect,
    Face,
    Input,
    InvalidInput,
    Media,
    Message,
    Messages,
    Picture,
    Plugin,
    Risk,
    Text,
)
from tests.surfaces.mcp.conformance_tools import NAME, PIXEL, Said, conformance, reads, shown

__all__ = ["conformance", "switch", "switched"]

# ---- prompts


@reads(prompt=True)
async def simple_prompt(ctx: Context) -> Messages:
    """Begin simply."""
    return Messages(messages=[Message(content=Text(text="This is a simple prompt for testing."))])


@reads(prompt=True)
async def prompt_with_arguments(ctx: Context, arg1: str, arg2: str) -> Messages:
    """Begin with two arguments."""
    return Messages(messages=[Message(content=Text(text=f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))])


@reads(prompt=True)
async def prompt_with_embedded_resource(
    ctx: Context,
    resourceUri: str,  # noqa: N803 - the suite spells it so
) -> Messages:
    """Begin with a document."""
    document = Document(uri=resourceUri, mime_type="text/plain", text="Embedded resource content for testing.")
    then = Text(text="Please process the embedded resource above.")
    return Messages(messages=[Message(content=document), Message(content=then)])


@reads(prompt=True)
async def prompt_with_image(ctx: Context) -> Messages:
    """Begin with a picture."""
    picture = Picture(data=PIXEL, mime_type="image/png")
    return Messages(messages=[Message(content=picture), Message(content=Text(text="Please analyze the image above."))])


class About(Input):
    context: str


@reads(prompt=True)
async def input_required_result_prompt(ctx: Context) -> Messages:
    """Begin with what is asked first."""
    about = await ctx.ask(Ask("user_context", "What context should the prompt use?", About))
    return Messages(messages=[Message(content=Text(text=f"About {about.context if about else 'nothing'}"))])


# ---- tasks


class Confirmed(Input):
    confirm: bool


@reads(tool="slow_compute")
async def slow_compute(ctx: Context, seconds: int, label: str = "") -> Media:
    """Take its time: as a job, if that is long."""
    if seconds:
        await ctx.in_background()
    await asyncio.sleep(seconds)
    return shown(f"computed {label}")


@reads(tool="failing_job")
async def failing_job(ctx: Context) -> Said:
    """Fail as a job, before somebody who follows it."""
    ctx.needs_client("tasks")
    await ctx.in_background()
    raise InvalidInput("this job always fails")


@reads(tool="protocol_error_job")
async def protocol_error_job(ctx: Context) -> Said:
    """Break as a job."""
    await ctx.in_background()
    raise RuntimeError("this job always breaks")


@reads(tool="confirm_delete")
async def confirm_delete(ctx: Context, filename: str) -> Media:
    """Ask as a job."""
    await ctx.in_background()
    answer = await ctx.ask(Ask("confirm", f"Delete {filename}?", Confirmed))
    return shown(f"{filename}: {'deleted' if answer and answer.confirm else 'kept'}")


class Partial(Input):
    name: str
    confirm: bool


@reads(tool="multi_input")
async def multi_input(ctx: Context) -> Media:
    """Ask two things at once, as a job."""
    await ctx.in_background()
    return shown(f"{await ctx.ask_all(Ask('first', 'Who?', Partial), Ask('second', 'Who else?', Partial))}")


@reads()
async def tool_with_task(ctx: Context) -> Media:
    """Ask first, then go on as a job."""
    ctx.needs_client("tasks")
    answer = await ctx.ask(NAME)
    await ctx.in_background()
    return shown(f"Hello, {answer.name if answer else 'stranger'}!")


# ---- changes


class Switch:
    """What adds a tool and a prompt to a running installation, and takes them away again."""

    def __init__(self) -> None:
        self.turn: Callable[[str], None] = lambda what: None


switch = Switch()
later = Plugin("later")


async def _tool(ctx: Context) -> Said:
    """Be there only at times."""
    return Said(text="here")


async def _prompt(ctx: Context) -> Messages:
    """Be there only at times."""
    return Messages(messages=[Message(content=Text(text="here"))])


later.operation("test.later_tool", risk=Risk.LOW, effect=Effect.READ)(_tool)
later.operation("test.later_prompt", risk=Risk.LOW, effect=Effect.READ, face=Face(prompt=True))(_prompt)


def switched(kernel: Kernel) -> Callable[[str], None]:
    """Give what swaps the registry of a kernel for one with or without an operation more."""

    def turn(what: str) -> None:
        extra = {one.name: one for one in later.compile()}[f"test.later_{what}"]
        rest = [one for one in kernel.registry if one.name != extra.name]
        more = [] if len(rest) < len(kernel.registry) else [extra]
        kernel.registry = Registry([*rest, *more], kernel.registry.version + 1)

    return turn


@reads()
async def trigger_tool_change(ctx: Context) -> Said:
    """Add a tool, or take it away."""
    switch.turn("tool")
    return Said(text="changed")


@reads()
async def trigger_prompt_change(ctx: Context) -> Said:
    """Add a prompt, or take it away."""
    switch.turn("prompt")
    return Said(text="changed")
