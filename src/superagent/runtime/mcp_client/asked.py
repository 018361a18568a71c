"""Asked: what a tool wants of a user before it goes on: by rounds (MCP 2026-07-28), or while the request is open.

Our own caller is asked. Nothing is kept between the rounds: with the answers the call begins anew, the tool asks once
more, and gets them. An answer fits exactly the question that was asked, and no other of the same name. Up to the
revision 2025-11-25 a tool may have acted before it asks: there only one is answered that may be begun anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from superagent.core.asking import Asking
from superagent.core.neutral import neutral, neutral_line
from superagent.core.problems import Unavailable
from superagent.core.questions import Ask
from superagent.runtime.mcp_client.messages import ELICIT, Broken, Document, Elicited

MOST_ROUNDS, MOST_ASKED, MOST_FIELDS = 5, 8, 16
LONGEST_MESSAGE, LONGEST_STATE = 2000, 64 * 1024
CAPABILITIES: Document = {"elicitation": {"form": {}}}
"""What servers are told that can be asked here: forms for the user; neither a model, nor folders, nor a browser."""

Answering = Callable[[Document], Awaitable[Document]]
"""Give what goes along with the next round, for a result that asks."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLAIN: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": float,
    "string": Annotated[str, Field(max_length=10_000)],
}


def answering(ctx: Asking, server: str) -> Answering:
    """Let the caller of a call answer what a server asks. Raises `NeedsInput`, `Unavailable`, `Broken`."""

    async def answer(said: Document) -> Document:
        requests = said.get("inputRequests")
        if not isinstance(requests, dict) or not 0 < len(cast(Document, requests)) <= MOST_ASKED:
            raise Broken("it asks for something, and does not say what")
        asked = {name: _ask(server, name, one) for name, one in cast(Document, requests).items()}
        given = await ctx.ask_all(*asked.values())
        more: Document = {"inputResponses": {name: _answered(one) for name, one in zip(asked, given, strict=True)}}
        state = said.get("requestState")
        if state is not None:
            if not isinstance(state, str) or len(state) > LONGEST_STATE:
                raise Broken("it gave a state that is none")
            more["requestState"] = state  # given back as it came, and read by nobody
        return more

    return answer


def eliciting(ctx: Asking, server: str, *, anew: bool, unanswered: Callable[[str], None]) -> Elicited:
    """Let the caller answer what a server asks while a request is open, if the call may be begun `anew`.

    Else nobody is asked, `unanswered` is told why, and the server that its form was left. Answering raises
    `NeedsInput`, `Unavailable`, `Broken`.
    """
    asked = 0

    async def elicited(params: Document, alone: bool) -> Document:
        nonlocal asked
        asked += 1
        if asked > MOST_ASKED:
            raise Broken("it kept asking")
        if params.get("mode", "form") != "form":
            unanswered("it asked for something else than a form")
            return {"action": "cancel"}
        if not alone:
            unanswered("it asked while several calls were open, and nothing names the one that it is for")
            return {"action": "cancel"}
        if not anew:
            unanswered("it asked when it may have changed something already, so the call cannot be begun anew")
            return {"action": "cancel"}
        return _answered(await ctx.ask(_ask(server, "form", {"method": ELICIT, "params": params})))

    return elicited


def _answered(given: BaseModel | None) -> Document:
    """Give an answer as servers understand it: what was left out is its default, or stays out (SEP-1034)."""
    if given is None:
        return {"action": "decline"}
    fields = type(given).model_fields
    kept = given.model_fields_set | {name for name, one in fields.items() if one.default_factory is None}
    return {"action": "accept", "content": given.model_dump(mode="json", by_alias=True, include=kept)}


def _ask(server: str, name: str, request: Any) -> Ask:
    said = cast(Document, request) if isinstance(request, dict) else {}
    params = cast(Document, said["params"]) if isinstance(said.get("params"), dict) else {}
    if said.get("method") != ELICIT or params.get("mode", "form") != "form":
        raise Unavailable("the tool asks for something that nobody gives it here: only forms are answered")
    message = params.get("message")
    if not _NAME.fullmatch(name) or not isinstance(message, str):
        raise Broken("it asks for something, and does not say what")
    digest = hashlib.sha256(msgspec.json.encode([name, params], order="deterministic")).hexdigest()
    text = f"The MCP server `{server}` asks, in its own words; give it no secret: {neutral(message[:LONGEST_MESSAGE])}"
    return Ask(f"{name}-{digest[:12]}", text, _form(params.get("requestedSchema")))


def _form(schema: Any) -> type[BaseModel]:
    """Give the class of a flat form. Raises `Broken` for one that is none."""
    whole = cast(Document, schema) if isinstance(schema, dict) else {}
    fields, needed = whole.get("properties"), whole.get("required", [])
    if not isinstance(fields, dict) or len(cast(Document, fields)) > MOST_FIELDS or not isinstance(needed, list):
        raise Broken("it asks by a form that is none")
    made: dict[str, Any] = {}
    for at, (name, one) in enumerate(cast(Document, fields).items()):
        if len(name) > 100 or not isinstance(one, dict):
            raise Broken("it asks by a form that is none")
        field = cast(Document, one)
        about = neutral_line(str(field.get("description", field.get("title", "")))[:500])
        kind = _kind(field)
        if (default := _default(kind, field)) is not None:
            made[f"f{at}"] = (kind, Field(default=default, alias=name, description=about))
        elif name in cast("list[Any]", needed):
            made[f"f{at}"] = (kind, Field(alias=name, description=about))
        else:  # left out it stays out: a form knows no null
            made[f"f{at}"] = (kind, Field(default_factory=_nothing, alias=name, description=about))
    return create_model("Form", __config__=ConfigDict(extra="forbid", strict=True), **made)


def _nothing() -> None:
    return None


def _default(kind: Any, field: Document) -> Any:
    """Give what a field is where nothing else is said; None for nothing, and for what does not fit it."""
    try:
        return TypeAdapter(kind).validate_python(field.get("default"), strict=True)
    except ValidationError:
        return None


def _kind(field: Document) -> Any:
    choices = field.get("enum")
    if isinstance(choices, list):
        texts = [one for one in cast("list[Any]", choices)[:100] if isinstance(one, str)]
        if texts:
            return Literal[tuple(texts)]
    kind = _PLAIN.get(str(field.get("type")))
    if kind is None:
        raise Unavailable("the tool asks for something that no simple form holds")
    return kind
