"""Resources: what an operation touches, named canonically before it is judged."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated, Any, get_args, get_origin

import msgspec

from superagent.core.problems import InvalidInput


class Effect(IntEnum):
    """What a call does to a resource; each one includes less freedom than the next."""

    READ = 0
    CHANGE = 1
    DESTROY = 2

    __hash__ = int.__hash__  # that of an enumeration is a Python function, and decisions are remembered by effects


class Risk(IntEnum):
    """How bad it is when a call was a mistake."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3

    __hash__ = int.__hash__


class Resource(msgspec.Struct, frozen=True, gc=False):
    """One thing a call touches: `kind://authority/path` and what happens to it.

    `authority` is a node or connection id; `-` where there is none. The tenant is never part of the id. `folder` says
    that a path is known to be a folder, or to become one.
    """

    kind: str
    authority: str
    path: str
    effect: Effect = Effect.READ
    folder: bool = False

    @property
    def id(self) -> str:
        """Give the canonical id, for example `path://local/srv/a`."""
        return f"{self.kind}://{self.authority}/{self.path.removeprefix('/')}"

    def as_(self, effect: Effect) -> Resource:
        """Give the same resource under another effect."""
        return Resource(self.kind, self.authority, self.path, effect, self.folder)


@dataclass(frozen=True, slots=True)
class Touches:
    """Mark an annotated parameter: its value names a resource of this kind, used with this effect.

    `folder` says that a path is to become one.
    """

    kind: str
    effect: Effect
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Touch:
    """Where in the input a resource stands."""

    argument: str
    kind: str
    effect: Effect
    many: bool
    folder: bool = False


ReadPath = Annotated[str, Touches("path", Effect.READ)]
WritePath = Annotated[str, Touches("path", Effect.CHANGE)]
FolderPath = Annotated[str, Touches("path", Effect.CHANGE, folder=True)]
"""A folder that is made."""
ReadWritePath = Annotated[str, Touches("path", Effect.CHANGE), Touches("path", Effect.READ)]
"""What is changed and comes to light by it: moved to where others may read it, or compared with the input."""
DestroyPath = Annotated[str, Touches("path", Effect.DESTROY)]
Url = Annotated[str, Touches("host", Effect.CHANGE)]
Connection = Annotated[str, Touches("connection", Effect.READ)]
SecretName = Annotated[str, Touches("secret", Effect.READ)]

_MAX_PATH = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ADDRESS = re.compile(r"(?:[^@\[\]:]*(?::[^@\[\]]*)?@)?(?P<host>\[[^\]]*\]|[^:\[\]@]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_STARRED = re.compile(r"[a-z0-9_*-]{1,63}")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ssh": 22, "postgresql": 5432, "mysql": 3306}


def touches_of(argument: str, hint: Any) -> tuple[Touch, ...]:
    """Find the resource marks in `ReadPath`, `list[ReadPath]`, `ReadPath | None`; one value may bear several."""
    if get_origin(hint) is Annotated:
        marks = [one for one in get_args(hint)[1:] if isinstance(one, Touches)]
        if not marks:
            return touches_of(argument, get_args(hint)[0])
        return tuple(Touch(argument, mark.kind, mark.effect, many=False, folder=mark.folder) for mark in marks)
    inner = [touch for one in get_args(hint) for touch in touches_of(argument, one)]
    many = get_origin(hint) is list
    return tuple(replace(touch, many=many or touch.many) for touch in inner)


def canonical(kind: str, value: str, workspace: str) -> tuple[str, str]:
    """Give (authority, path) of what a caller named.

    Relative paths lie beneath `workspace`; `.`, `..` and `//` are resolved as text, so the name that policy judges
    has one spelling. Links are not followed here: the real path is judged again after opening (rules.md 7).
    Raises `InvalidInput` for names that cannot exist.
    """
    if kind == "path":
        return "local", canonical_path(value, workspace)
    if kind == "host":
        return "-", canonical_host(value)
    return "-", canonical_name(value)


def canonical_path(value: str, workspace: str) -> str:
    """Give the absolute, lexically resolved path of what a caller named.

    Case, percent signs and Unicode forms stay as they are: to the kernel, names are bytes, and two spellings two files.
    """
    if not value or "\0" in value or len(value) > _MAX_PATH:
        raise InvalidInput("a path must have 1 to 4096 characters and no NUL byte")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("a path must be valid Unicode text") from None
    if not value.startswith("/"):
        if not workspace:
            raise InvalidInput(
                f"`{value[:200]}` is relative and this key has no workspace", hint="name an absolute path"
            )
        value = f"{workspace}/{value}"
    # normpath keeps two leading slashes (POSIX lets them mean something else); here they mean one
    return "/" + posixpath.normpath(value).lstrip("/")


def canonical_host(value: str) -> str:
    """Give `host:port` of a URL or a `host[:port]` text, in lower case; the default port is 443.

    What two readers of URLs could understand differently is refused: backslashes, spaces, a second `@`, an empty port,
    numbers that are addresses in disguise (`0x7f.1`). Names outside ASCII are written in their `xn--` form.
    """
    scheme, sep, rest = value.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0] if sep else value
    scheme = scheme if sep else "https"
    found = _ADDRESS.fullmatch(authority)
    plain = value.isprintable() and not any(char in value for char in " \\")
    if not found or not plain or not _SCHEME.fullmatch(scheme) or (not sep and "@" in authority):
        raise InvalidInput(f"`{value[:200]}` does not name a host and port")
    port = int(found["port"]) if found["port"] else _PORTS.get(scheme.lower(), 0)
    if not 0 < port < 65536:
        raise InvalidInput(f"`{value[:200]}` does not name a port", hint="write it as `host:port`")
    try:
        return f"{host_name(found['host'])}:{port}"
    except ValueError as bad:
        raise InvalidInput(f"`{value[:200]}`: {bad}") from None


def host_name(name: str, stars: bool = False) -> str:
    """Give the one spelling of a host: lower case, no dot at the end, addresses at their shortest, IPv6 in brackets.

    With `stars`, a label may hold `*`. Raises `ValueError` for what is no host.
    """
    if name.startswith("["):
        address = ipaddress.IPv6Address(name[1:-1])
        if address.scope_id:
            raise ValueError("an address with a zone means something else on every machine")
        return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address}]"
    label, labels = _STARRED if stars else _LABEL, name.lower().removesuffix(".").split(".")
    if not name.isascii() or len(name) > 253 or not all(label.fullmatch(one) for one in labels):
        raise ValueError(
            "a host is a name in ASCII (`xn--…` for others), an IPv4 address or an IPv6 address in brackets"
        )
    # whatever ends in a number is an address to resolvers, in any of five notations; only the plain one is taken
    plain = ".".join(labels)
    return str(ipaddress.IPv4Address(plain)) if "*" not in name and _NUMERIC.fullmatch(labels[-1]) else plain


def canonical_name(value: str) -> str:
    """Give a plain name (connection, table, key …) as it is; it must be printable and without space around it."""
    if not value or len(value) > _MAX_PATH or not value.isprintable() or value.strip() != value:
        raise InvalidInput("a name must have 1 to 4096 printable characters and no space around it")
    return value


@dataclass(frozen=True, slots=True)
class Protected:
    """The platform's own places, which no grant reaches (rules.md 8), and what is carved out of them.

    `places` names each by its real path and by every other path that leads to it (a data folder may be a link).
    `workspaces` is the real path of the folder whose sub-folders `<tenant>/<agent>` stay reachable; with a `tenant`,
    only those of that tenant. Its other spellings stay closed, and so do the folder itself and the tenants' folders.
    """

    places: tuple[str, ...] = ()
    workspaces: str = ""
    tenant: str = ""

    def of_tenant(self, tenant: str) -> Protected:
        """Give the same, with the workspaces of all other tenants closed as well."""
        return replace(self, tenant=tenant)

    def covers(self, path: str) -> bool:
        """Tell whether a path lies in a protected place; of a place and a carve-out, the nearer one counts."""
        if not path.startswith(self.places):  # nearly always; also true of `/database` next to `/data`
            return False
        nearest = max((len(place) for place in self.places if beneath(path, place)), default=0)
        if not nearest:
            return False
        if not self.workspaces or not beneath(path, self.workspaces) or nearest > len(self.workspaces):
            return True
        tenant, _, agent = path[len(self.workspaces) + 1 :].partition("/")
        return not agent or self.tenant not in ("", tenant)

    def contains_one(self, path: str) -> bool:
        """Tell whether a protected place lies beneath this path, so that a whole-tree change must refuse."""
        return any(beneath(place, path) for place in self.places)


def beneath(path: str, root: str) -> bool:
    """Tell whether a canonical path is the root or lies below it."""
    return path == root or root == "/" or path.startswith(root + "/")
