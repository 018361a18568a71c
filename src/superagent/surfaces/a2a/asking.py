"""Asking: what a message wants. It names one operation, or it is told how to; nothing is ever guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from a2a.types.a2a_pb2 import Message, Part
from a2a.utils.errors import ContentTypeNotSupportedError
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from superagent.core.calls import MOST_BESIDE, STEERS, call_from, refuse_slips, steers_of
from superagent.core.invocation import Call
from superagent.core.problems import Fault, Fix, InvalidInput
from superagent.core.strict_json import parse_object

MESSAGE = "a2a.message"
"""What a message is called in the record when it names no operation."""

_LENT = "superagent/lent"
"""The key of a message's metadata with what one of us lends to whom it asks; it steers nothing."""

_LOOKED_AT = frozenset({"data", "metadata", "text"})
"""Parts of a request that are looked at as what they are, and hold what their sender likes."""

_JSON = "application/json"
_MOST_PARTS = 32
_EXACT = 2.0**53
"""From here on a number of a data part is no longer the one that was sent: data parts carry doubles."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z0-9_]{1,40}){1,3}")
_HOW = 'send one data part: {"operation": "files.read", "input": {"path": "notes.txt"}}'


def call_of(message: Message, beside: Struct, request: Mapping[str, Any]) -> Call:
    """Give the call that a message asks for; `beside` is the metadata of its `request`, which steers nothing.

    Raises `InvalidInput`, `ContentTypeNotSupportedError`.
    """
    if len(message.parts) > _MOST_PARTS:
        raise InvalidInput(f"a message has at most {_MOST_PARTS} parts", hint=_HOW)
    _refuse_slips(request)
    asked: list[dict[str, Any]] = []
    words: list[str] = []
    for part in message.parts:
        found = _asked(part)
        if found is not None:
            asked.append(found)
        else:
            words.append(part.text)
    if len(asked) > 1:
        raise InvalidInput("a message asks for one operation", hint="send a message for each")
    if not asked:
        asked.append(_named(words))
        words = []
    for place in (beside, *(part.metadata for part in message.parts)):
        if _steers(place):
            raise InvalidInput(f"`{STEERS}` is not said there", hint="it belongs into the metadata of the message")
    steers = _steers(message.metadata)
    if twice := steers.keys() & asked[0].keys():
        raise InvalidInput(f"`{min(twice)}` is said in the part, too", hint="say it once")
    said = steers | asked[0]
    if words and "reason" not in said:
        said["reason"] = "\n".join(words)[:2000]
    return call_from(said, "$")


def answers_of(message: Message, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give the answers that a message to a task which asks for something holds. Raises as `call_of` does."""
    _refuse_slips(request)
    if _steers(message.metadata):
        raise InvalidInput("how to treat an answer cannot be said", hint=f"leave `{STEERS}` out")
    found = [one for part in message.parts[:_MOST_PARTS] if (one := _asked(part)) is not None]
    if len(found) != 1 or found[0].keys() != {"answers"} or not isinstance(found[0]["answers"], dict):
        raise InvalidInput("this task asks for something", hint='send one data part: {"answers": {"NAME": …}}')
    return cast("dict[str, Any]", found[0]["answers"])


def _refuse_slips(request: Mapping[str, Any]) -> None:
    """Refuse a dry run that a request asks for where the SDK leaves it aside. Raises `InvalidInput`."""
    waiting: list[Any] = [request]
    left = MOST_BESIDE
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict | list):
            continue
        left -= len(cast("list[Any] | dict[str, Any]", one))
        if left < 0:
            raise InvalidInput(f"a request says more than {MOST_BESIDE} things beside its parts", hint=_HOW)
        if isinstance(one, list):
            waiting += cast("list[Any]", one)
        else:
            said = cast("dict[str, Any]", one)
            refuse_slips(said, "$", _LOOKED_AT)
            waiting += [value for name, value in said.items() if name not in _LOOKED_AT]


def _asked(part: Part) -> dict[str, Any] | None:
    """Give what a part asks for as data; None for plain words."""
    kind = part.WhichOneof("content")
    if kind == "data":
        data = _plain(MessageToDict(part.data), "$")
        if not isinstance(data, dict):
            raise InvalidInput("a data part is one object", hint=_HOW)
        return cast("dict[str, Any]", data)
    if kind == "text":
        is_json = part.media_type.partition(";")[0].strip().lower() == _JSON
        return parse_object(part.text.encode()) if is_json else None
    raise ContentTypeNotSupportedError(
        "files are no parts of messages here",
        {"hint": "store it by `PUT /v1/blobs` and name its handle in the input", "media_type": part.media_type[:100]},
    )


def _named(words: list[str]) -> dict[str, Any]:
    """Give the call of an operation whose very name the words are; other words are not interpreted.

    Whether there is such an operation is for the line to say: it tells nobody of what is hidden.
    """
    text = "\n".join(words).strip()
    if _NAME.fullmatch(text):
        return {"operation": text}
    raise InvalidInput(
        "this message names no operation, and plain words are not interpreted here",
        hint=f"{_HOW}; the extended card and `catalogue.search` show what there is",
        fix=Fix("catalogue.search", {"query": text[:200]}) if text else None,
    )


def _steers(metadata: Struct) -> dict[str, Any]:
    path = f"$.metadata.{STEERS}"
    steers = steers_of(MessageToDict(metadata), "$.metadata", {_LENT})
    if strange := steers.keys() & {"operation", "input", "session"}:
        raise InvalidInput(
            f"`{min(strange)}` is not said there",
            errors=[Fault(f"{path}.{min(strange)}", "belongs into a part, or is the context")],
        )
    return cast("dict[str, Any]", _plain(steers, path))


def _plain(value: Any, path: str) -> Any:
    """Give what was sent: whole numbers as such again, since a data part carries all of them as doubles."""
    if isinstance(value, dict):
        return {name: _plain(one, f"{path}.{name}") for name, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(one, f"{path}[{at}]") for at, one in enumerate(cast("list[Any]", value))]
    if not isinstance(value, float):
        return value
    if abs(value) >= _EXACT:
        raise InvalidInput(
            "a number this large arrives rounded in a data part",
            hint="send the same object as text with `mediaType: application/json`",
            errors=[Fault(path[:200], "2^53 or more")],
        )
    return int(value) if value.is_integer() else value
