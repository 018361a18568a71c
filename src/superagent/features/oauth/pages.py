"""Pages of OAuth: who asks for what, in words; no scripts, nothing from elsewhere, in no other page's frame."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Super-Agent</title><style>body{{font:16px/1.5 system-ui;max-width:34rem;margin:3rem auto;
padding:0 1rem}}code{{background:#8882;padding:.1em .3em;overflow-wrap:anywhere}}button{{font:inherit;
padding:.5em 1.5em;margin-right:1em}}.warning{{border-left:.3em solid #c60;padding-left:.8em}}</style>
<h1>{title}</h1>{body}</html>"""
_EFFECTS = {"read": "read with", "change": "read and change with", "": "do anything with"}


def policy(target: str) -> tuple[bytes, bytes]:
    """Give what the page may load, which is nothing, and where its form may lead: here, and from here to `target`."""
    kept = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    return b"content-security-policy", f"{kept} {target}".strip().encode()


def consent(asking: Mapping[str, Any], request: str, csrf: str) -> str:
    """Give the page on which a person agrees, or not."""
    name, client = escape(asking["client_name"]), escape(asking["client"])
    scopes = "".join(f"<li>{scope_in_words(one)}</li>" for one in asking["scopes"])
    who = f"<p>It calls itself <strong>{name}</strong> and is known as <code>{client}</code>.</p>"
    if asking["document"]:
        who += "<p class=warning>Nobody registered it here: it describes itself at that address.</p>"
    if asking["local"]:
        who += (
            "<p class=warning>The answer goes to a program on your own machine. Any program there can say that it is "
            "this one: agree only if you have just started it.</p>"
        )
    body = (
        f"{who}<p>It asks to act for you in the tenant <strong>{escape(asking['tenant'])}</strong>, never beyond what "
        f"you may yourself:</p><ul>{scopes}</ul>"
        f"<p>The answer goes to <code>{escape(asking['redirect'])}</code>.</p>"
        '<form method="post" action="/oauth/authorize">'
        f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
        f'<input type="hidden" name="request" value="{escape(request)}">'
        '<button name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny">Do not</button></form>'
    )
    return _PAGE.format(title="Let it act for you?", body=body)


def refusal(why: str) -> str:
    """Give the page for a request that goes nowhere: its redirect address is not known to be the client's."""
    return _PAGE.format(title="This request cannot be answered", body=f"<p>{escape(why[:500])}</p>")


def scope_in_words(scope: str) -> str:
    """Say what a scope lets a client do."""
    if scope == "offline_access":
        return "go on while you are away"
    pattern, _, kind = scope.partition(":")
    what = "every operation that you have" if pattern == "*" else f"<code>{escape(pattern)}</code>"
    return f"{_EFFECTS[kind]} {what}"
