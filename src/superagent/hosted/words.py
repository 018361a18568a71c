"""Words: what a hosted plugin and the server say to each other, as data; JSON-RPC 2.0, one message a line."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PROTOCOL = 1
MOST_LINE = 8 * 1024 * 1024
"""The longest message, bytes: what is larger belongs in a file or a blob."""

PROBLEM, BUG = -32000, -32603
"""The two codes of an error: one that the caller should know, and one that nobody meant."""

REACHES = ("files", "net", "run", "secret")
"""What a hosted plugin can be given."""

What = Literal["run", "preview", "undo"]
Back = Literal["", "own", "put_back"]


class Touched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter that names a resource."""

    argument: str
    kind: str
    effect: int
    many: bool = False


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input that works."""

    title: str
    input: dict[str, Any]


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operation as its author declared it: everything that decides, and nothing that runs.

    `arguments` are the parameters' names in order. `effect` is what was declared beside the parameters, None for
    nothing. `undo` says whether taking back runs the plugin's own function or only puts back what was kept. `digest` is
    what the plugin's own side makes of it: both must mean the same.
    """

    name: str
    doc: str
    arguments: list[str]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    risk: int
    digest: str
    effect: int | None = None
    touched: list[Touched] = []
    reaches: list[str] = []
    scope: str = "tenant"
    idempotent: bool = False
    inline: bool = False
    atomic: bool = False
    stream: bool = False
    compensate: bool = False
    ephemeral: str = ""
    irreversible: str = ""
    timeout_s: float = 60.0
    preview: bool = False
    undo: Back = ""
    assess: bool = False
    touches: bool = False
    examples: list[Example] = []
    version: int = 1


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plugin as data. `hooks` names what it hangs on the platform besides operations: none of it can be hosted."""

    protocol: int
    name: str
    reaches: list[str]
    operations: list[Declared]
    hooks: list[str] = []


class Who(msgspec.Struct, frozen=True):
    """Who acts, as far as a hosted plugin is told."""

    id: str
    kind: Literal["human", "agent", "service", "node", "anonymous"]
    tenant: str
    workspace: str = ""


class About(msgspec.Struct, frozen=True):
    """The call that a plugin is asked to do; `remaining_s` is None where there is no deadline."""

    invocation: str
    who: Who
    channel: str
    now: float
    remaining_s: float | None = None
    dry_run: bool = False
    session: str = ""
    parent: str = ""


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a problem says; `ref` names one that the server itself raised within the same call."""

    slug: str
    detail: str = ""
    hint: str | None = None
    changed: Literal["nothing", "partly", "unknown"] = "nothing"
    errors: list[tuple[str, str]] = []
    ref: int = 0
    trace: str = ""


class Error(msgspec.Struct, frozen=True):
    """An error of JSON-RPC 2.0."""

    code: int
    message: str
    data: Said | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any message of JSON-RPC 2.0: a request has a method, an answer none; what has no id wants no answer."""

    jsonrpc: Literal["2.0"] = msgspec.field(default="2.0")
    id: int | None = None
    method: str = ""
    params: dict[str, Any] = {}
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Error | None = None


_decoder = msgspec.json.Decoder(Message)
encode = msgspec.json.Encoder().encode


def read(line: bytes) -> Message:
    """Give the message of a line. Raises `ValueError` for anything else."""
    message = _decoder.decode(line)
    if not message.method and message.id is None:
        raise ValueError("neither a request nor an answer")
    return message


def request(number: int | None, method: str, params: dict[str, Any]) -> bytes:
    """Give the line of a request, or of a notification when it has no number."""
    given = {"jsonrpc": "2.0", "method": method, "params": params}
    return encode(given if number is None else {**given, "id": number}) + b"\n"


def answer(number: int, result: Any = None, error: Error | None = None) -> bytes:
    """Give the line of an answer."""
    what: dict[str, Any] = {"result": result} if error is None else {"error": error}
    return encode({"jsonrpc": "2.0", "id": number, **what}) + b"\n"
