"""Public keys as they are published, one a line, and whether one of them signed a text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable

from superagent_verifier.ed25519 import verifies

Verify = Callable[[bytes, bytes, bytes], bool]
_ED25519 = b"\x01"


class BadKey(ValueError):
    """A line that is no public key."""


class Keys:
    """The keys that may sign, each known by the name of its holder and its id (4 bytes).

    Raises `BadKey` for a line that is none. Empty lines and those that begin with `#` are passed over.
    """

    def __init__(self, lines: Iterable[str], verify: Verify | None = None) -> None:
        self._verify = verify or _fastest()
        self._keys: dict[tuple[str, bytes], bytes] = {}
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, key_id, key = _parsed(line.strip())
                self._keys[name, key_id] = key
        if not self._keys:
            raise BadKey("there is no key")

    def signed(self, text: bytes, name: str, signature: bytes) -> bool:
        """Tell whether the holder of this name signed a text; the signature begins with the id of the key."""
        key = self._keys.get((name, signature[:4]))
        return key is not None and self._verify(key, text, signature[4:])


def _parsed(line: str) -> tuple[str, bytes, bytes]:
    try:
        name, key_id, encoded = line.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise BadKey(f"`{line[:200]}` is not <name>+<key id>+<key>") from None
    if len(raw) != 33 or raw[:1] != _ED25519:
        raise BadKey(f"the key of {name} is not an Ed25519 key")
    if hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != key_id:
        raise BadKey(f"{key_id} is not the id of that key of {name}")
    return name, bytes.fromhex(key_id), raw[1:]


def _fastest() -> Verify:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return verifies

    def verify(public: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify
