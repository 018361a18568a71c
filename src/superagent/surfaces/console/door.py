"""The console's door: the built bundle at `/ui`, under the strictest policy for content that it works with.

The bundle is no part of the sources: the build hook makes it (`console/`). Without it a plain page says how; the rest
of the platform does not depend on it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from superagent.core.mounts import Mount, Receive, Scope, Send, Visit, answer, not_here, visit_of

PREFIX = "/ui"
_PLACEHOLDER = b"NONCE-OF-THIS-RESPONSE"
_KINDS = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".woff2": b"font/woff2",
}
_MISSING = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Super-Agent</title>
<h1>The console is not built here</h1>
<p>Build it with <code>make console</code> (it needs Node 20.19 or newer, or takes it from PyPI) and start again.
The API, the command line and <a href="/sign-in">sign-in</a> work without it.</p></html>"""
_SAFE = [
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    kind: bytes


class Console:
    """Serve the bundle in `folder`; what there is, is read once."""

    def __init__(self, folder: Path) -> None:
        index = folder / "index.html"
        self._index = index.read_bytes() if index.is_file() else b""
        assets = folder / "assets"
        self._assets = {
            path.name: _File(path.read_bytes(), _KINDS[path.suffix])
            for path in (sorted(assets.iterdir()) if assets.is_dir() else [])
            if path.suffix in _KINDS
        }

    @property
    def built(self) -> bool:
        """Tell whether there is a bundle."""
        return bool(self._index)

    @property
    def mount(self) -> Mount:
        """Give where this is served: to everybody, for it holds nothing; what it shows, operations give."""
        return Mount(PREFIX, self, public=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an asset by its exact name, else the one page. Raises `NotFound` for anything but looking."""
        visit = visit_of(scope)
        if visit.method not in ("GET", "HEAD"):
            raise not_here(visit.method, PREFIX + visit.path)
        if visit.path.startswith("/assets/"):
            await self._asset(visit, send)
        else:
            await self._page(visit, send)

    async def _asset(self, visit: Visit, send: Send) -> None:
        # by exact name among the files that there are: nothing of a path reaches the file system
        found = self._assets.get(visit.path[len("/assets/") :])
        if found is None:
            raise not_here(visit.method, PREFIX + visit.path)
        # the name holds a digest of the content
        headers = [*_SAFE, (b"cache-control", b"public, max-age=31536000, immutable"), (b"content-type", found.kind)]
        await answer(send, 200, b"" if visit.method == "HEAD" else found.data, headers)

    async def _page(self, visit: Visit, send: Send) -> None:
        nonce = secrets.token_urlsafe(16)
        body = self._index.replace(_PLACEHOLDER, nonce.encode()) if self.built else _MISSING
        headers = [
            *_SAFE,
            (b"cache-control", b"no-store"),
            (b"content-security-policy", _policy(nonce).encode()),
            (b"content-type", b"text/html; charset=utf-8"),
        ]
        await answer(send, 200 if self.built else 503, b"" if visit.method == "HEAD" else body, headers)


def _policy(nonce: str) -> str:
    """Give the policy for content (CSP level 3): our script, styles with this nonce, no HTML made of text."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
