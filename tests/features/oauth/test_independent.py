"""Independent clients over real HTTP: what others wrote from the same documents gets along with this server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.clients import node
from tests.features.oauth.parties import BACK, application, service
from tests.promise import promise
from tests.surfaces.http.house import House

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@asynccontextmanager
async def browser(house: House) -> AsyncGenerator[str]:
    """Be the person's browser: told an address or a device's code, press the button, and say where that led."""

    async def press(said: str) -> str:
        if "://" not in said:
            await house.owner.done("oauth.device.decide", {"user_code": said, "allow": True})
            return "done"
        asked = dict(parse_qsl(urlsplit(said).query))
        page = await house.owner.http.get("/oauth/authorize", params=asked)
        if page.status_code == 303:
            return page.headers["location"]
        assert page.status_code == 200, page.text
        pressed = await house.owner.http.post(
            "/oauth/authorize", data={"request": urlencode(asked), "decision": "allow"}
        )
        return pressed.headers["location"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        answer = (await press((await reader.readexactly(length)).decode())).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@promise("1.2b")
async def test_oauth4webapi_gets_along(house: House) -> None:
    app, own = await application(house), await service(house)
    async with browser(house) as address:
        given = {
            "app": app.id, "back": BACK, "browser": address, "resource": house.address,
            "service": {"id": own.id, "secret": own.secret}, "whoami": f"{house.address}/v1/operations/access.whoami",
        }  # fmt: skip
        out = await node.said("oauth", "client.mjs", house.address, given=given)

    assert out.pop("whoami")["id"] == f"{app.id}/owner"
    assert out.pop("after_replay") not in ("accepted", None)
    assert out == {
        "issuer": house.address, "resource": house.address,
        "code": {"type": "bearer", "scope": "files.*", "life": 300}, "replayed_code": "invalid_grant",
        "rotated": True, "reused": "invalid_grant", "family": "invalid_grant", "mixed_up": "OAUTH_INVALID_RESPONSE",
        "downgrade": "invalid_request", "service": "service", "active": True, "revoked": False,
        "wrong_secret": "invalid_client",
    }  # fmt: skip


@promise("1.2b")
async def test_openid_client_gets_along(house: House) -> None:
    app = await application(house, device=True)
    async with browser(house) as address:
        given = {
            "app": app.id, "back": BACK, "browser": address, "whoami": f"{house.address}/v1/operations/access.whoami",
        }  # fmt: skip
        out = await node.said("oauth", "openid.mjs", house.address, given=given)

    assert out.pop("whoami")["on_behalf_of"] == ["owner"]
    assert out == {
        "issuer": house.address, "device_page": f"{house.address}/device", "device": "files.*:read",
        "code": "files.*", "narrower": "files.*:read", "wider": "invalid_scope", "revoked": "invalid_grant",
    }  # fmt: skip


@promise("1.2b")
async def test_the_conformance_suite_of_the_model_context_protocol_passes(house: House) -> None:
    port = free_port()
    app = await application(house, redirect_uris=["http://127.0.0.1:1/callback"])
    async with browser(house) as address:
        given = {"issuer": house.address, "client": app.id, "resource": f"{house.address}/mcp", "port": str(port)}
        out = await node.said("oauth", "conformance.mjs", given=given | {"browser": address})

    assert (out["code"], out["failed"]) == (0, 0), out
    assert out["passed"] >= 3, out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
