"""Step-up at a terminal: real, in a pseudo-terminal, with a second factor that is enrolled at a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.features.sign_in.browser import Web
from tests.promise import promise
from tests.surfaces.cli.command_line import ENTRY, PATIENCE_S, environment
from tests.surfaces.cli.test_hidden import SEATED
from tests.surfaces.http.house import House, house_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
GRANT = json.dumps({"effect": "allow", "subject": "agent:nobody", "operations": ["files.read"]})
PROMPT = b"one-time code or recovery code (not shown): "


def seated(house: House, key: Path, code: str, *line: str) -> tuple[int, str]:
    """Sit at a terminal, call, and type a code when it is asked for; gives the exit code and all that was shown."""
    command = [sys.executable, "-c", SEATED, *ENTRY, "--server", house.address, "--api-key-file", str(key), *line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        while PROMPT not in shown:
            more = os.read(process.stdout.fileno(), 4096)
            assert more, shown
            shown += more
        process.stdin.write(code.encode() + b"\n")
        process.stdin.flush()
        shown += process.stdout.read()
        return process.wait(PATIENCE_S), shown.decode()


@promise("1.2c")
@pytest.mark.timeout(240)
async def test_at_a_terminal_a_critical_call_asks_for_the_second_factor_and_then_runs(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        web = Web(house)
        await web.by_link()
        totp = await web.enrol_totp()
        key = house.installation.places.owner_key
        line = ("grants", "create", "--grant", GRANT)

        wrong = await asyncio.to_thread(seated, house, key, "000000", *line)
        assert wrong[0] != 0
        assert "unauthenticated" in wrong[1] or "code" in wrong[1]
        assert await granted(web) == []

        code = totp.at(house.installation.kernel.hands.clock.now())
        done, shown = await asyncio.to_thread(seated, house, key, code, *line)
        assert done == 0, shown
        assert "needs a second factor" in shown
        assert code not in shown  # what is typed is not shown
        assert len(await granted(web)) == 1

        again, shown = await asyncio.to_thread(seated, house, key, code, *line)
        assert again != 0, shown  # a code is taken once, and nothing of the proof was kept for the next call
        records = [one for one in await house.records(operation="grants.create") if one["kind"] == "refused"]
        assert {one["problem"] for one in records} == {"step-up-required"}
        assert len(await granted(web)) == 1


@pytest.mark.timeout(240)
async def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        web = Web(house)
        await web.by_link()
        await web.enrol_totp()
        key = house.installation.places.owner_key
        command = [*ENTRY, "--server", house.address, "--api-key-file", str(key), "grants", "create", "--grant", GRANT]

        def run() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                command, input=b"", capture_output=True, timeout=PATIENCE_S, env=environment(), check=False
            )

        told = await asyncio.to_thread(run)
        assert told.returncode != 0
        assert PROMPT not in told.stdout + told.stderr
        assert b"second factor" in told.stdout + told.stderr
        assert await granted(web) == []


async def granted(web: Web) -> list[Any]:
    """Give the grants to the agent of these tests."""
    return [one for one in (await web.done("grants.list"))["grants"] if one["grant"]["subject"] == "agent:nobody"]
