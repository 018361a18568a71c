"""HTML of the sign-in pages: plain documents that work without script, with the strictest policy for content."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from superagent.core.mounts import Send, answer
from superagent.core.problems import Problem

Header = tuple[bytes, bytes]

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SAFE: list[Header] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    # with `no-referrer` browsers would not say from which origin a form comes
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Page:
    """One document, or with `to` a redirect to a path of ours; `cookies` are set with it."""

    title: str = ""
    body: str = ""
    status: int = 200
    to: str = ""
    cookies: list[str] = field(default_factory=list[str])
    again_to: str = ""  # goes on by itself from a document of ours, so that strict cookies go along

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [*SAFE, *((b"set-cookie", one.encode()) for one in self.cookies)]
        if self.to:
            await answer(send, 303, b"", [*headers, (b"location", self.to.encode())])
            return
        await answer(send, self.status, self.document().encode(), [*headers, (b"content-type", _HTML)])

    def document(self) -> str:
        """Give the whole document."""
        on = f'<meta http-equiv="refresh" content="0;url={escape(self.again_to)}">' if self.again_to else ""
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">{on}'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)} · Super-Agent</title>"
            '<link rel="stylesheet" href="/sign-in/static/style.css">'
            '<script src="/sign-in/static/sign-in.js" defer></script></head>'
            f"<body><main><h1>{escape(self.title)}</h1>{self.body}</main></body></html>"
        )


_HTML = b"text/html; charset=utf-8"


def form(action: str, inner: str, button: str, csrf: str = "", quiet: bool = False) -> str:
    """Give a form that posts to a path of ours."""
    token = hidden("csrf", csrf) if csrf else ""
    kind = ' class="quiet"' if quiet else ""
    return f'<form method="post" action="{escape(action)}">{token}{inner}<button{kind}>{escape(button)}</button></form>'


def hidden(name: str, value: str) -> str:
    """Give a field that is not shown."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def text(
    name: str, label: str, kind: str = "text", complete: str = "off", focus: bool = False, needed: bool = True
) -> str:
    """Give a labelled field."""
    more = (" required" if needed else "") + (" autofocus" if focus else "")
    numbers = ' inputmode="numeric"' if complete == "one-time-code" else ""
    return (
        f'<label>{escape(label)} <input type="{kind}" name="{escape(name)}" autocomplete="{complete}"'
        f"{numbers}{more}></label>"
    )


def passkey(step: str, button: str, after: str, csrf: str = "") -> str:
    """Give the button that the script makes work with passkeys; without script it stays out of sight."""
    data = {"step": step, "after": after, "csrf": csrf}
    named = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    return f'<p><button type="button" class="passkey" hidden{named}>{escape(button)}</button></p>'


def deciding(id: str, decision: str, button: str, after: str, csrf: str) -> str:
    """Give the button by which a passkey signs a decision about a waiting call."""
    data = {"step": "approvals/passkey", "after": after, "csrf": csrf, "id": id, "decision": decision}
    named = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    return f'<p><button type="button" class="passkey" hidden{named}>{escape(button)}</button></p>'


def trouble(problem: Problem | None) -> str:
    """Give what went wrong, with what to do next; nothing for None."""
    if problem is None:
        return ""
    hint = f" {escape(problem.hint)}." if problem.hint else ""
    return f'<p class="trouble" role="alert">{escape(problem.detail or problem.title())}.{hint}</p>'


def local(path: str) -> str:
    """Give a path of ours to go to afterwards; whatever could lead elsewhere leads to the start instead."""
    plain = path.isprintable() and path.isascii() and "\\" not in path and not path.startswith("//")
    return path if plain and path.startswith("/") and len(path) < 2000 else "/sign-in/you"
