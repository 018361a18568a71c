"""Injection: a credential that the proxy adds on the way out, and takes out again of all that comes back.

Only servers that were named get it, and only over TLS that was verified. A server that shows it (an echo, an error
text) does not bring it inside: every spelling of it is overwritten, byte for byte, so that lengths stay right.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from superagent.core.endpoints import Endpoint
from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput
from superagent.core.redactor import Redactor

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_FORBIDDEN = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}


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

    def values(self) -> frozenset[str]:
        """Give what no answer may show, however it is spelled: the value, and the secret in it without its scheme."""
        value = self.value.reveal()
        shown = value.partition(" ")[2] or value
        return frozenset({value, shown}) | _inside_basic(shown)


def _inside_basic(text: str) -> frozenset[str]:
    """Give the two secrets that `Basic` holds in one."""
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return frozenset()
    return frozenset({password, f"{name}:{password}"}) if colon and name.isprintable() else frozenset()


class Mask:
    """Overwrite values in a stream, in every spelling that programs usually have for them, also across pieces."""

    def __init__(self, values: frozenset[str]) -> None:
        self._redactor = Redactor()
        for value in values:
            self._redactor.add("", Secret(value))
        self._stream = self._redactor.stream(fill=b"*")

    def whole(self, data: bytes) -> bytes:
        """Overwrite in a text that is there as a whole."""
        stream = self._redactor.stream(fill=b"*")
        return stream.feed(data) + stream.close()

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and give what can be let go; the beginning of a value is held back."""
        return self._stream.feed(data)

    def rest(self) -> bytes:
        """Give what was held back, at the end."""
        return self._stream.close()
