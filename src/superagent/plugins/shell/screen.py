"""What a session said, as text that no terminal acts upon."""

from __future__ import annotations

import base64
import re
from typing import Literal

from superagent.sdk import InvalidInput, Output, Screen

# ECMA-48: control sequences, strings up to their terminator (or line, so that none hides the rest), and short escapes
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Key = Literal[
    "enter", "tab", "escape", "backspace", "delete", "up", "down", "right", "left", "home", "end", "page-up",
    "page-down", "ctrl-a", "ctrl-b", "ctrl-c", "ctrl-d", "ctrl-e", "ctrl-k", "ctrl-l", "ctrl-n", "ctrl-p", "ctrl-r",
    "ctrl-u", "ctrl-w", "ctrl-x", "ctrl-z", "ctrl-backslash",
]  # fmt: skip
_KEYS = {
    "enter": b"\r", "tab": b"\t", "escape": b"\x1b", "backspace": b"\x7f", "delete": b"\x1b[3~", "up": b"\x1b[A",
    "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F",
    "page-up": b"\x1b[5~", "page-down": b"\x1b[6~", "ctrl-backslash": b"\x1c",
}  # fmt: skip


class Shown(Output):
    """What a session said and how it stands.

    `text` are the bytes from `since` up to `next`; without `raw` it is plain: what a terminal would act upon is left
    out. `more` says that there is output after `next`, `lost` how many bytes before `since` are not kept any more. `at`
    says why the waiting ended: prompt, match, sent, timeout, ended. `exit_code` is what the session's own shell says of
    the last command. `ended` is why the session is over, null while it is not: exited, closed, idle, revoked, output,
    stopped, discarded, lost, or the limit that it met. `until` is when it is ended if nobody uses it (epoch seconds).
    `view` holds what it changed, null where nothing can be or waits there.
    """

    session: str
    text: str
    since: int
    next: int
    more: bool
    lost: int
    at: str
    exit_code: int | None
    ended: str | None
    until: float
    view: str | None = None


def shown(screen: Screen, *, raw: bool) -> Shown:
    """Show what a session said."""
    text = screen.data.decode("utf-8", "replace")
    return Shown(
        session=screen.session,
        text=text if raw else plain(text),
        since=screen.since,
        next=screen.next,
        more=bool(screen.data) and screen.next < screen.end,
        lost=screen.lost,
        at=screen.at,
        exit_code=screen.exit_code,
        ended=screen.ended or None,
        until=screen.until,
        view=screen.view or None,
    )


def plain(text: str) -> str:
    """Give a text without anything that a terminal would act upon, but for line feeds and tabs."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text).replace("\r\n", "\n"))


def pressed(keys: list[Key]) -> bytes:
    """Give the bytes of keys, as an xterm sends them."""
    return b"".join(_KEYS.get(one) or bytes([ord(one[-1]) - 0x60]) for one in keys)


def typed(text: str | None, encoding: Literal["utf-8", "base64"]) -> bytes:
    """Give the bytes of an input. Raises `InvalidInput` for what is no base64."""
    if encoding == "utf-8":
        return (text or "").encode()
    try:
        return base64.b64decode(text or "", validate=True)
    except ValueError:
        raise InvalidInput("`input` is no base64", hint="leave `encoding` out for plain text") from None
