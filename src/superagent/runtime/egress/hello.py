"""The first message of TLS: which name it asks for, read by OpenSSL itself and not by a parser of ours."""

from __future__ import annotations

import ssl

MOST_BYTES = 64 * 1024


class NoHello(Exception):
    """What came is not the beginning of TLS."""


class Hello:
    """Collect bytes until the first message is whole; `name` is then the server's name it asks for, None for none."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._seen = False
        self._size = 0
        self._incoming = ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._take
        self._object = context.wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)

    def feed(self, data: bytes) -> bool:
        """Take bytes and tell whether the message is whole. Raises `NoHello`."""
        self._size += len(data)
        if self._size > MOST_BYTES:
            raise NoHello("it has no end")
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self._seen
        except ssl.SSLError as fault:
            if not self._seen:
                raise NoHello(fault.reason or "it cannot be read") from None
        return True

    def _take(self, _: ssl.SSLObject | ssl.SSLSocket, name: str | None, __: ssl.SSLContext) -> int:
        self._seen = True
        self.name = name
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE  # nobody goes on with this handshake
