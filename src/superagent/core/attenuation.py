"""Attenuation: how a weaker key is made of a key without asking the server, and read again.

A key is the seed of an Ed25519 key pair, and the server has its public half. So its holder can sign a Biscuit with it:
a chain of blocks of which each can only be followed by a weaker one. Each block holds one caveat in the language of
grants, as data; no Datalog of a token is ever run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError

from superagent.core.grants import Cidr, Grant, Strict

PREFIX = "sab_"
LONGEST = 4096  # characters of a token
LONGEST_LIFE_S = 7 * 86_400.0
MOST_BLOCKS = 3
_NAME = "[a-z0-9][a-z0-9_-]{0,62}"
_TOKEN = re.compile(r"sab_(?P<root>[a-z2-7]{52})_(?P<chain>[A-Za-z0-9_-]+={0,2})")
_FACT = re.compile(r'caveat\("([A-Za-z0-9_-]+)"\);\n')


class Caveat(Strict):
    """What one block says: whom the key is lent to, for what, until when (epoch seconds), from where."""

    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    grants: Annotated[list[Grant], Field(min_length=1, max_length=20)]
    expires_at: FiniteFloat
    cidr: list[Cidr] = []


@dataclass(frozen=True, slots=True)
class Shown:
    """A token taken apart, and nothing of it checked: the public key it says it comes from, and its chain."""

    public: bytes
    chain: str

    @property
    def key(self) -> str:
        """Give the id of the key it says it comes from."""
        return id_of(self.public)


def take_apart(token: str) -> Shown | None:
    """Read a token's form; None for what is none."""
    found = _TOKEN.fullmatch(token) if len(token) <= LONGEST else None
    if found is None:
        return None
    try:
        return Shown(base64.b32decode(found["root"].upper() + "===="), found["chain"])
    except binascii.Error:
        return None


def put_together(public: bytes, chain: str) -> str:
    """Give the token of a chain that the holder of a key began."""
    return f"{PREFIX}{base64.b32encode(public).decode().rstrip('=').lower()}_{chain}"


def id_of(public: bytes) -> str:
    """Name a key by its public half."""
    return f"key_{base64.b32encode(hashlib.sha256(public).digest()[:15]).decode().lower()}"


def fact_of(caveat: Caveat) -> str:
    """Give the one fact that a block consists of."""
    text = caveat.model_dump_json(exclude_defaults=True).encode()
    return f'caveat("{base64.urlsafe_b64encode(text).decode().rstrip("=")}")'


def caveat_of(source: str) -> Caveat:
    """Read a block. Raises `ValueError` for one that says anything else, or more."""
    found = _FACT.fullmatch(source)
    if found is None:
        raise ValueError("a block that is no caveat")
    try:
        return Caveat.model_validate_json(base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except ValidationError as bad:
        raise ValueError("a caveat that makes no sense") from bad


def check_own(grants: list[Any]) -> None:
    """Go on only with grants that name nobody. Raises `ValueError`."""
    if any(one.subject or one.id for one in grants):
        raise ValueError("the grants of a key have no `subject` and no `id`: they are the key's own")
