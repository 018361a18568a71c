"""The guard: no code in this process opens a connection that was not opened for it by name (rules.md 25).

An audit hook of the interpreter sees each `connect`, `sendto` and look-up of Python's own sockets, in every thread and
task. It lets through what a capability permits at this very moment, the stores that were declared at composition, Unix
sockets, and look-ups of what is an address already. It is a net below trusted code, no sandbox: a C extension with its
own sockets, or `ctypes`, is not seen. Code that is not trusted runs in another process.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from superagent.core.current import CALL
from superagent.core.endpoints import address_in
from superagent.core.invocation import Invocation
from superagent.core.problems import Denied

Place = tuple[str, int]
Note = Callable[[Invocation | None, str, str], None]
"""Called with the call under way (None: none is), the place, and what was tried; from any thread."""

_permitted: ContextVar[frozenset[Place]] = ContextVar("superagent_permitted", default=frozenset())
_active: tuple[Guard, ...] = ()
_hooked = False

_HINT = "declare the reach `net` and use `ctx.net`, which vets the address and records the connection"


class Guard:
    """The guard of one installation; it stands while `standing` is open. `note` records each refusal."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._declared: set[Place] = set()

    def declare(self, host: str, port: int) -> None:
        """Let the platform's own connections to a store through: `host` as they name it, `port` 0 for every port."""
        self._declared.add((host, port))

    def knows(self, place: Place) -> bool:
        """Tell whether a place was declared."""
        return place in self._declared or (place[0], 0) in self._declared

    def refused(self, place: Place, what: str) -> None:
        """Record a refusal."""
        self._note(CALL.get(), f"{place[0]}:{place[1]}", what)

    @contextmanager
    def standing(self) -> Generator[Guard]:
        """Hold the guard up while the block runs."""
        global _active, _hooked
        if not _hooked:  # a hook cannot be taken off again; without a guard it does nothing
            _hooked = True
            sys.addaudithook(hook)
        _active = (*_active, self)
        try:
            yield self
        finally:
            _active = tuple(one for one in _active if one is not self)


def permitting(*places: Place) -> Permission:
    """Permit these connections and look-ups to the code in a block, and to nobody else."""
    return Permission(places)


class Permission:
    """What `permitting` gives; many calls take one, so it is no generator."""

    __slots__ = ("_places", "_token")

    def __init__(self, places: tuple[Place, ...]) -> None:
        self._places = places

    def __enter__(self) -> None:
        self._token = _permitted.set(_permitted.get().union(self._places))

    def __exit__(self, *_: object) -> None:
        _permitted.reset(self._token)


def check(host: Any, port: Any, what: str = "connect") -> None:
    """Go on only if this connection is permitted here. Raises `Denied`, which is recorded."""
    place = (_text(host), port if isinstance(port, int) else 0)
    if not _active or place in _permitted.get() or any(guard.knows(place) for guard in _active):
        return
    _active[-1].refused(place, what)
    raise Denied(f"nothing in this call may {what} `{place[0][:200]}:{place[1]}`", hint=_HINT)


def _connect(sock: Any, address: Any) -> None:
    if address is None or sock.family == socket.AF_UNIX:
        return
    try:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            host, port, *_ = cast("tuple[Any, ...]", address)
            check(host, port)
        else:
            check(f"family {int(sock.family)}", 0)
    except BaseException:
        sock.close()  # libraries close theirs after an `OSError` only, and nobody shall try again with this one
        raise


def check_name(host: Any, port: Any = 0, *_: Any) -> None:
    """Go on only if this name may be looked up here. Raises `Denied`, which is recorded."""
    name = _text(host)
    if name in ("", "localhost") or address_in(name) is not None:
        return  # no question leaves this machine
    place = (name, int(port) if isinstance(port, int | str | bytes) and _text(port).isdecimal() else 0)
    check(*place, what="look up")


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    return value if isinstance(value, str) else "" if value is None else str(value)


_CHECKS: dict[str, Callable[..., None]] = {
    "socket.connect": _connect,
    "socket.sendto": _connect,
    "socket.sendmsg": _connect,
    "socket.getaddrinfo": check_name,
    "socket.gethostbyname": check_name,
    "socket.gethostbyaddr": check_name,
}


def hook(event: str, args: tuple[Any, ...]) -> None:
    """See an event of the interpreter."""
    seen = _CHECKS.get(event)  # this runs at every import and `open` of the process: one look, and away
    if seen is not None and _active:
        seen(*args)
