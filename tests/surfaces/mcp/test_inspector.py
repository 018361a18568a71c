"""The MCP Inspector: its command line finds nothing that a client could stumble over in any of our schemas."""

from __future__ import annotations

import json

import pytest

from tests.clients.node import run
from tests.promise import promise
from tests.surfaces.http.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")
INSPECTOR = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_schema_is_portable(house: House) -> None:
    toolsets = ",".join(sorted({one.domain for one in house.installation.kernel.registry} - {"test", "probe"}))
    code, out, err = await run(
        "mcp", INSPECTOR, "--cli", f"{house.address}/mcp?toolsets={toolsets}", "--transport", "http", "--header",
        f"Authorization: Bearer {house.owner.key}", "--method", "tools/list", "--strict", patience_s=200.0,
    )  # fmt: skip

    assert code == 0, err[-3000:] + out[-3000:]
    names = [tool["name"] for tool in json.loads(out)["tools"]]
    assert len(names) > 150
    assert len(set(names)) == len(names)
