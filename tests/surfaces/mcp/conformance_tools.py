"""The tools that the conformance suite calls by name, as operations of the same registry (a test-only toolset)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from superagent.sdk import (
    Ask,
    Context,
    Document,
    Effect,
    Face,
    Input,
    InvalidInput,
    Media,
    Output,
    Picture,
    Plugin,
    Risk,
    Sound,
    Text,
)

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=="

conformance = Plugin("test")


class Said(Output):
    text: str


def reads(tool: str = "", uri: str = "", **more: Any) -> Any:
    """Declare an operation that only reads, as agents see it."""
    return conformance.operation(
        risk=Risk.LOW, effect=Effect.READ, face=Face(tool=tool, uri=uri, **more), returns_untrusted="never"
    )


def shown(text: str) -> Media:
    return Media(content=[Text(text=text)])


@reads()
async def simple_text(ctx: Context) -> Media:
    """Say something simple."""
    return shown("This is a simple text response for testing.")


@reads()
async def error_handling(ctx: Context) -> Said:
    """Fail."""
    raise InvalidInput("This tool intentionally returns an error for testing")


@reads()
async def tool_with_progress(ctx: Context) -> Said:
    """Say how far it is, three times."""
    for fraction in (0.0, 0.5, 1.0):
        await ctx.progress("going on", fraction)
        await asyncio.sleep(0.05)
    return Said(text="done")


@reads()
async def image_content(ctx: Context) -> Media:
    """Show a picture."""
    return Media(content=[Picture(data=PIXEL, mime_type="image/png")])


@reads()
async def audio_content(ctx: Context) -> Media:
    """Play a sound."""
    return Media(content=[Sound(data=SILENCE, mime_type="audio/wav")])


@reads()
async def embedded_resource(ctx: Context) -> Media:
    """Show a document."""
    text = "This is an embedded resource content."
    return Media(content=[Document(uri="test://embedded-resource", mime_type="text/plain", text=text)])


@reads()
async def multiple_content_types(ctx: Context) -> Media:
    """Show several things."""
    document = Document(
        uri="test://mixed-content-resource", mime_type="application/json", text='{"test":"data","value":123}'
    )
    picture = Picture(data=PIXEL, mime_type="image/png")
    return Media(content=[Text(text="Multiple content types test:"), picture, document])


@reads()
async def tool_with_logging(ctx: Context) -> Said:
    """Say three things while it works."""
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.log(text)
        await asyncio.sleep(0.05)
    return Said(text="done")


@reads()
async def logging_tool(ctx: Context) -> Said:
    """Say one thing while it works."""
    await ctx.log("heard only by whoever asked for it")
    return Said(text="done")


@reads(tool="greet")
async def greet(ctx: Context, name: str) -> Media:
    """Greet somebody."""
    return shown(f"Hello, {name}!")


class address(Input):  # noqa: N801 - its name is the one in `$defs`
    """Where somebody lives."""

    model_config = ConfigDict(json_schema_extra={"$anchor": "addressDef"})

    street: str = ""
    city: str = ""


@reads(
    tool="json_schema_2020_12_tool",
    rules={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
    },
)
async def json_schema(
    ctx: Context,
    name: str = "",
    address: address | None = None,
    contactMethod: Literal["phone", "email"] = "email",  # noqa: N803 - the suite spells it so
    phone: str = "",
    email: str = "",
) -> Said:
    """Take what only a schema of 2020-12 can say."""
    if not (phone if contactMethod == "phone" else email):
        raise InvalidInput(f"`{contactMethod}` is missing")
    return Said(text=name)


@reads()
async def header_tool(
    ctx: Context, region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], query: str = ""
) -> Said:
    """Take an argument that a header repeats."""
    return Said(text=region)


# ---- resources


@reads(uri="test://static-text")
async def static_text(ctx: Context) -> Media:
    """Read a text."""
    return shown("This is the content of the static text resource.")


@reads(uri="test://static-binary")
async def static_binary(ctx: Context) -> Media:
    """Read a picture."""
    return Media(content=[Picture(data=PIXEL, mime_type="image/png")])


@reads(uri="test://template/{id}/data")
async def template_data(ctx: Context, id: str) -> Media:
    """Read what an address says."""
    text = f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'
    return Media(content=[Document(uri=f"test://template/{id}/data", mime_type="application/json", text=text)])


@reads(uri="test://watched-resource")
async def watched_resource(ctx: Context) -> Media:
    """Read what may be watched."""
    return shown("watched")


# ---- questions


class Name(Input):
    name: str


class User(Input):
    username: Annotated[str, Field(description="User's response")]
    email: Annotated[str, Field(description="User's email address")]


class Okay(Input):
    ok: bool


class Defaults(Input):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def titled(*pairs: tuple[str, str]) -> Any:
    return [{"const": value, "title": title} for value, title in pairs]


_FIRST = titled(("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option"))
_LEGACY: Any = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
_CHOICES = titled(("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice"))
Option = Literal["option1", "option2", "option3"]


class Enums(Input):
    untitledSingle: Option  # noqa: N815 - the suite spells it so
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _FIRST})]  # noqa: N815
    legacyEnum: Annotated[str, Field(json_schema_extra=_LEGACY)]  # noqa: N815
    untitledMulti: list[Option]  # noqa: N815
    titledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"anyOf": _CHOICES}})]  # noqa: N815


NAME = Ask("user_name", "What is your name?", Name)
ROOTS = Ask("client_roots", "Which folders do you work in?", kind="folders")


@reads()
async def elicitation(ctx: Context, message: str) -> Media:
    """Ask for a name and an address."""
    user = await ctx.ask(Ask("user", message, User))
    return shown(f"User response: {user}")


@reads()
async def elicitation_sep1034_defaults(ctx: Context) -> Media:
    """Ask with defaults."""
    return shown(f"Elicitation completed: {await ctx.ask(Ask('defaults', 'Who are you?', Defaults))}")


@reads()
async def elicitation_sep1330_enums(ctx: Context) -> Media:
    """Ask for choices."""
    return shown(f"Elicitation completed: {await ctx.ask(Ask('choices', 'What do you choose?', Enums))}")


@reads()
async def sampling(ctx: Context, prompt: str) -> Media:
    """Ask the client's model."""
    text = await ctx.ask(Ask("text", prompt, kind="model", most=100))
    return shown(f"LLM response: {text}")


@reads()
async def missing_capability(ctx: Context) -> Media:
    """Need a client with a model."""
    ctx.needs_client("model")
    return shown("it has one")


@reads()
async def streaming_elicitation(ctx: Context) -> Media:
    """Say something, then ask."""
    await ctx.progress("about to ask", 0.1)
    return shown(f"{await ctx.ask(NAME)}")


@reads()
async def input_required_result_elicitation(ctx: Context) -> Media:
    """Ask for a name."""
    answer = await ctx.ask(NAME)
    return shown(f"Hello, {answer.name if answer else 'stranger'}!")


@reads()
async def input_required_result_sampling(ctx: Context) -> Media:
    """Ask the client's model."""
    question = Ask("capital_question", "What is the capital of France?", kind="model", most=100)
    return shown(str(await ctx.ask(question)))


@reads()
async def input_required_result_list_roots(ctx: Context) -> Media:
    """Ask for folders."""
    return shown(f"{[one['uri'] for one in await ctx.ask(ROOTS) or ()]}")


@reads()
async def input_required_result_request_state(ctx: Context) -> Media:
    """Ask to confirm."""
    answer = await ctx.ask(Ask("confirm", "Please confirm", Okay))
    return shown(f"state-ok: {answer}")


@reads()
async def input_required_result_tampered_state(ctx: Context) -> Media:
    """Ask to confirm."""
    return shown(f"{await ctx.ask(Ask('confirm', 'Please confirm', Okay))}")


@reads()
async def input_required_result_multiple_inputs(ctx: Context) -> Media:
    """Ask three things at once."""
    greeting = Ask("greeting", "Generate a greeting", kind="model", most=50)
    name, text, folders = await ctx.ask_all(NAME, greeting, ROOTS)
    return shown(f"{text} {name} {folders}")


class Color(Input):
    color: str


@reads()
async def input_required_result_multi_round(ctx: Context) -> Media:
    """Ask one thing after the other."""
    name = await ctx.ask(Ask("step1", "Step 1: What is your name?", Name))
    color = await ctx.ask(Ask("step2", "Step 2: What is your favorite color?", Color))
    return shown(f"{name} {color}")


@reads()
async def input_required_result_capabilities(ctx: Context) -> Media:
    """Ask only what the client can be asked."""
    asks = [NAME, Ask("text", "Say something", kind="model")]
    return shown(f"{await ctx.ask_all(*(one for one in asks if ctx.can_ask(one.kind)))}")
