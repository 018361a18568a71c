"""The console's files: by exact name, under a policy for content, and nothing depends on their being built."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, MutableMapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from superagent.core.mounts import VISIT, Line, Visit
from superagent.core.principal import Principal
from superagent.core.problems import NotFound
from superagent.surfaces.console.door import Console
from tests.surfaces.http.house import House, house_in

PAGE = '<!doctype html><script nonce="NONCE-OF-THIS-RESPONSE" src="/ui/assets/main-1.js"></script>'


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Give a bundle like the one that is built, and something beside it that is none of its files."""
    (tmp_path / "bundle" / "assets").mkdir(parents=True)
    (tmp_path / "bundle" / "index.html").write_text(PAGE, "utf-8")
    (tmp_path / "bundle" / "assets" / "main-1.js").write_text("1", "utf-8")
    (tmp_path / "bundle" / "assets" / "notes.txt").write_text("no kind that is served", "utf-8")
    (tmp_path / "secret.js").write_text("2", "utf-8")
    return tmp_path / "bundle"


class _NoLine:
    """Files are no calls: nothing here is ever asked."""

    def find(self, operation: str) -> None:
        raise AssertionError(operation)

    run = refused = find


async def got(console: Console, path: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Visit the console as a stranger."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    visit = Visit(
        line=cast("Line", _NoLine()),
        principal=Principal("anonymous", "anonymous", "default"),
        method=method, path=path, query={}, headers={}, receive=receive, origin="http://localhost",
    )  # fmt: skip
    await console({VISIT: visit}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_the_page_is_one_for_every_address_and_its_nonce_is_of_this_response(bundle: Path) -> None:
    console = Console(bundle)
    first, second = await got(console, "/approvals/01ABC"), await got(console, "")

    nonces = [re.search(rb'nonce="([\w-]{20,})"', one[2]) for one in (first, second)]
    assert nonces[0] is not None
    assert nonces[1] is not None
    assert nonces[0][1] != nonces[1][1]
    policy = first[1][b"content-security-policy"].decode()
    assert f"style-src 'self' 'nonce-{nonces[0][1].decode()}'" in policy
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert first[1][b"cache-control"] == b"no-store"


async def test_assets_are_found_by_exact_name_and_kept_for_good(bundle: Path) -> None:
    console = Console(bundle)
    status, headers, body = await got(console, "/assets/main-1.js")

    assert (status, body, headers[b"content-type"]) == (200, b"1", b"text/javascript; charset=utf-8")
    assert b"immutable" in headers[b"cache-control"]
    assert (await got(console, "/assets/main-1.js", "HEAD"))[2] == b""
    for path in (
        "/assets/../index.html",
        "/assets/../../secret.js",
        "/assets/",
        "/assets/notes.txt",
        "/assets/none.js",
    ):
        with pytest.raises(NotFound):
            await got(console, path)
    with pytest.raises(NotFound):
        await got(console, "", "POST")


async def test_without_a_bundle_a_plain_page_says_how_to_build_it(tmp_path: Path) -> None:
    status, headers, body = await got(Console(tmp_path / "none"), "/activity")

    assert status == 503
    assert b"make console" in body
    assert b"content-security-policy" in headers


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    """Give a served installation."""
    async with house_in(tmp_path / "data") as opened:
        yield opened


async def test_strangers_get_the_page_and_nothing_else(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.address, timeout=20) as stranger:
        page = await stranger.get("/ui/activity")
        assert page.status_code in (200, 503)  # 503 where it is not built
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert (await stranger.post("/ui/activity")).status_code == 404
        assert (await stranger.post("/v1/operations/approvals.list", json={})).status_code == 401
