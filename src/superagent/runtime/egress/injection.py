"""Injection: a credential that the proxy adds on the way out, and takes out again of all that comes back.

Only servers that were named get it, and only over TLS that was verified. A server that shows it (an echo, an error
text) does not bring it inside: every spelling of it is overwritten, byte for byte, so that lengths stay right.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from superagent.core.endpoints import Endpoint
from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_FORBIDDEN = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}
SHORTEST = 6
"""Shorter texts are not looked for in answers: they would cut holes into everything."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A header for one endpoint. `value` is the header's whole value, such as `Bearer …`."""

    endpoint: Endpoint
    header: str
    value: Secret

    @classmethod
    def of(cls, host: str, header: str, value: Secret) -> Injection:
        """Check and make one; `host` is `name` (port 443) or `name:port`. Raises `InvalidInput` without the value."""
        endpoint = Endpoint.of(host)
        if endpoint.literal is not None:
            raise InvalidInput(f"`{host[:200]}`: a credential is given to a name, not to an address")
        if not _HEADER.fullmatch(header) or header.lower() in _FORBIDDEN:
            raise InvalidInput(f"`{header[:100]}` is no header that can be added")
        if not _VALUE.fullmatch(value.reveal()) or len(value.reveal()) > 8192:
            raise InvalidInput(f"the value for `{header}` is no text that a header can hold")
        return cls(endpoint, header, value)

    def needles(self) -> frozenset[bytes]:
        """Give the spellings in which a server may show the value: as it is, without its scheme, and encoded."""
        value = self.value.reveal()
        found: set[str] = set()
        for text in {value, value.partition(" ")[2] or value}:
            encoded = base64.b64encode(text.encode()).decode()
            found |= {text, quote(text, safe=""), quote_plus(text), encoded, encoded.rstrip("=")}
            found |= {base64.urlsafe_b64encode(text.encode()).decode(), text.replace("/", "\\/"), text.encode().hex()}
            if text is not value:  # `Basic` holds two secrets in one
                found |= _inside_basic(text)
        return frozenset(one.encode() for one in found if len(one) >= SHORTEST)


def _inside_basic(text: str) -> set[str]:
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return set()
    return {password, f"{name}:{password}", quote(password, safe="")} if colon and name.isprintable() else set()


class Mask:
    """Overwrite texts in a stream, also where they lie across two pieces."""

    def __init__(self, needles: frozenset[bytes]) -> None:
        self._needles = sorted(needles, key=len, reverse=True)
        self._longest = len(self._needles[0]) if needles else 0
        self._found = re.compile(b"|".join(re.escape(one) for one in self._needles)) if needles else None
        self._held = b""

    def whole(self, data: bytes) -> bytes:
        """Overwrite in a text that is there as a whole."""
        return data if self._found is None else self._found.sub(lambda found: b"*" * len(found.group()), data)

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and give what can be let go; the beginning of a needle is held back."""
        if self._found is None:
            return data
        text = self.whole(self._held + data)
        kept = self._begun(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> bytes:
        """Give what was held back, at the end."""
        held, self._held = self._held, b""
        return held

    def _begun(self, text: bytes) -> int:
        """Give how many bytes at the end may be the beginning of a needle."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[len(text) - size :]
            if any(one.startswith(end) for one in self._needles):
                return size
        return 0
