"""Session: what a client does with a server: open, list the tools, call one; nothing that a server says is believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from superagent.core.problems import Unavailable
from superagent.runtime.hosted.call import shown
from superagent.runtime.mcp_client.asked import CAPABILITIES, MOST_ROUNDS, Answering
from superagent.runtime.mcp_client.messages import Broken, Document, Elicited, Headers, Refused, Request, Wire
from superagent.runtime.mcp_client.stdio import CLIENT

NEWEST = "2026-07-28"
WITH_SESSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
OPEN_S, LIST_S = 20.0, 20.0
MOST_TOOLS, MOST_PAGES, MOST_SAID = 200, 20, 1024 * 1024
"""How many tools a server may have, in how many pages, and how much they may say of themselves in all, bytes."""
MOST_PARTS = 100
UNSUPPORTED = -32022
"""The code of a server that does not speak a revision (MCP 2026-07-28, versioning)."""
_FOREIGN = "it speaks no revision of the protocol that is spoken here"
PARTS = ("text", "image", "audio", "resource", "resource_link")

# whatever of a tool a model or a person is shown, or a client acts on: all of it is pinned
SAID = ("title", "description", "inputSchema", "outputSchema", "annotations")

_anything: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as its server describes it; `said` holds what is pinned."""

    name: str
    said: Document

    @property
    def digest(self) -> str:
        """Give the SHA-256 (hex) over name and description."""
        return hashlib.sha256(msgspec.json.encode([self.name, self.said], order="deterministic")).hexdigest()


class Result(msgspec.Struct, frozen=True):
    """What a tool gave: its texts, one per part; what it structured; other parts; whether it says that it failed."""

    text: str
    structured: Any = None
    parts: list[Document] = []
    failed: bool = False


async def begin(wire: Wire) -> str:
    """Open a session, and give the name and version that the server bears. Raises as `Wire.ask`."""
    first, then = (_discovered, _initialized) if wire.newest_first else (_initialized, _discovered)
    try:
        return await first(wire)
    except (Refused, Broken) as fault:
        if isinstance(fault, Broken) and not wire.newest_first:
            raise
        return await then(wire)  # over HTTP whatever it said may be its way of not knowing the newer revision


async def tools(wire: Wire) -> list[Offered]:
    """Give all tools of a server, in its order. Raises as `Wire.ask`."""
    found: dict[str, Offered] = {}
    params: Document = {}
    size = 0
    for _ in range(MOST_PAGES):
        wire.looked()
        said = await wire.ask(Request("tools/list", params, LIST_S))
        listed = said.get("tools")
        if not isinstance(listed, list):
            raise Broken("it answered with something that is no list of tools")
        for one in cast("list[Any]", listed):
            offered = _offered(one)
            size += len(msgspec.json.encode(offered.said))
            if size > MOST_SAID or len(found) >= MOST_TOOLS:
                raise Broken(f"it has more than {MOST_TOOLS} tools, or says more than {MOST_SAID} bytes of them")
            if offered.name in found:
                raise Broken("two of its tools have one name")
            found[offered.name] = offered
        cursor = said.get("nextCursor")
        if cursor is None:
            return list(found.values())
        if not isinstance(cursor, str) or len(cursor) > 4096:
            raise Broken("it gave a cursor that is none")
        params = {"cursor": cursor}
    raise Broken(f"its list of tools has more than {MOST_PAGES} pages")


async def call(
    wire: Wire,
    name: str,
    arguments: Document,
    timeout_s: float,
    mirrored: Headers = (),
    *,
    answering: Answering,
    elicited: Elicited | None = None,
) -> Result:
    """Call a tool, with the answers to what it asks. Raises as `Wire.ask`, `answering` and `elicited` do."""
    params: Document = {"name": name, "arguments": arguments}
    said = await wire.ask(Request("tools/call", params, timeout_s, mirrored, elicited))
    for _ in range(MOST_ROUNDS):
        if said.get("resultType", "complete") != "input_required":
            break
        said = await wire.ask(Request("tools/call", params | await answering(said), timeout_s, mirrored))
    if said.get("resultType", "complete") != "complete":
        raise Unavailable("the tool asks for further input, which nobody gives it", changed="unknown")
    content = said.get("content", [])
    if not isinstance(content, list) or len(cast("list[Any]", content)) > MOST_PARTS:
        raise Broken("it answered with something that is no content")
    texts: list[str] = []
    parts: list[Document] = []
    for one in cast("list[Any]", content):
        part = _part(one)
        if part["type"] == "text":
            texts.append(str(part.get("text", "")))
        else:
            parts.append(part)
    structured = _shallow(said.get("structuredContent"), "what it answered")
    return Result("\n".join(texts), structured, _shallow(parts, "what it answered"), said.get("isError") is True)


# ---- inside


async def _discovered(wire: Wire) -> str:
    """Begin in the revision without sessions."""
    wire.speak(NEWEST, stateless=True)
    try:
        said = await wire.ask(Request("server/discover", {}, OPEN_S))
    except Refused as refused:
        if refused.code != UNSUPPORTED:
            raise
        said = await wire.ask(Request("server/discover", {}, OPEN_S))  # it may have meant what was said before
    spoken = said.get("supportedVersions")
    if not isinstance(spoken, list) or NEWEST not in spoken:
        raise Broken(_FOREIGN)
    return _named(said)


async def _initialized(wire: Wire) -> str:
    """Begin by the handshake of the revisions that have one."""
    wire.speak("", stateless=False)
    asked = {"protocolVersion": WITH_SESSIONS[0], "capabilities": CAPABILITIES, "clientInfo": CLIENT}
    said = await wire.ask(Request("initialize", asked, OPEN_S))
    revision = said.get("protocolVersion")
    if revision not in WITH_SESSIONS:
        raise Broken(_FOREIGN)
    wire.speak(revision, stateless=False)
    await wire.tell("notifications/initialized", {})
    return _named(said)


def _named(said: Document) -> str:
    meta = said.get("_meta")
    newer = cast(Document, meta).get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None
    info = said.get("serverInfo", newer)
    about = cast(Document, info) if isinstance(info, dict) else {}
    text = " ".join(str(about[key]) for key in ("name", "version") if key in about)
    return shown(text, 120).replace("\n", " ")


def _offered(value: Any) -> Offered:
    if not isinstance(value, dict):
        raise Broken("it answered with something that is no list of tools")
    one = cast(Document, value)
    name = one.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 128 or not name.isprintable():
        raise Broken("one of its tools has no name")
    return Offered(name, _shallow({key: one[key] for key in SAID if one.get(key) is not None}, "one of its tools"))


def _shallow(value: Any, what: str) -> Any:
    """Give a value that can be written down again. Raises `Broken` for one that nests deeper than our writer goes."""
    try:
        _anything.dump_json([[[[[[[[value]]]]]]]])  # as deep as it will lie in an answer of ours, and some more
    except PydanticSerializationError:
        raise Broken(f"{what} nests too deeply") from None
    return value


def _part(value: Any) -> Document:
    if not isinstance(value, dict):
        raise Broken("it answered with something that is no content")
    one = cast(Document, value)
    if one.get("type") not in PARTS:
        raise Broken("it answered with content of a kind that is not known")
    return {key: inner for key, inner in one.items() if key not in ("_meta", "annotations")}
