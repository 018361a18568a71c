"""Secret inputs: parameters whose value is hidden from the moment it was read."""

from __future__ import annotations

import typing
from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, PlainSerializer, PlainValidator, WithJsonSchema

from superagent.core.principal import Secret

BLANK = "[secret]"
"""What is shown in place of a value."""

LONGEST_SECRET = 32_768


def _hide(value: object) -> Secret:
    if isinstance(value, Secret):  # from an operation that calls another
        return value
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_SECRET:
        raise ValueError(f"a secret is a text of 1 to {LONGEST_SECRET} characters")
    return Secret(value)


SecretText = Annotated[
    Secret,
    PlainValidator(_hide),
    PlainSerializer(lambda _: BLANK, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "password", "writeOnly": True, "minLength": 1, "maxLength": LONGEST_SECRET}
    ),
]
"""A parameter that is a secret: the operation receives a `Secret`; nothing else ever sees, keeps or hashes the value.

Give it a parameter of its own, `SecretText` or `SecretText | None`.
"""


def is_secret(hint: Any) -> bool:
    """Tell whether a parameter is a secret. Raises `TypeError` for one that holds secrets further inside."""
    plain = [part for part in _parts(hint) if part is not NoneType]
    if plain == [Secret]:
        return True
    if any(_holds_secrets(part, set()) for part in plain):
        raise TypeError("a secret needs a parameter of its own: inside of something else it would not be hidden")
    return False


def _parts(hint: Any) -> list[Any]:
    """Give the alternatives of a union, without what is annotated."""
    if typing.get_origin(hint) is Annotated:
        return _parts(get_args(hint)[0])
    if typing.get_origin(hint) in _UNIONS:
        return [part for one in get_args(hint) for part in _parts(one)]
    return [hint]


_UNIONS = (typing.Union, type(int | str))


def _holds_secrets(hint: Any, seen: set[Any]) -> bool:
    if hint is Secret:
        return True
    inner = list(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, BaseModel) and hint not in seen:
        seen.add(hint)
        inner += [field.annotation for field in hint.model_fields.values()]
    return any(_holds_secrets(one, seen) for one in inner)
