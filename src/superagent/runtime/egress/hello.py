"""The first message of TLS: which name it asks for, read by OpenSSL itself and not by a parser of ours."""

from __future__ import annotations

import ssl
from functools import cache
from weakref import WeakKeyDictionary

MOST_BYTES = 64 * 1024


class NoHello(Exception):
    """What came is not the beginning of TLS."""


class Hello:
    """Collect bytes until the first message is whole; `name` is then the server's name it asks for, None for none."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.seen = False
        self._size = 0
        self._incoming = ssl.MemoryBIO()
        self._object = _listening().wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)
        _waiting[self._object] = self

    def feed(self, data: bytes) -> bool:
        """Take bytes and tell whether the message is whole. Raises `NoHello`."""
        self._size += len(data)
        if self._size > MOST_BYTES:
            raise NoHello("it has no end")
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self.seen
        except ssl.SSLError as fault:
            if not self.seen:
                raise NoHello(fault.reason or "it cannot be read") from None
        return True


_waiting: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, Hello] = WeakKeyDictionary()


@cache
def _listening() -> ssl.SSLContext:
    """Give the one server that nobody ever gets beyond the first message with; making one takes a millisecond."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def take(asked: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int:
        hello = _waiting[asked]
        hello.seen, hello.name = True, name
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    context.sni_callback = take
    return context
