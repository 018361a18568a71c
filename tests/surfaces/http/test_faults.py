"""What breaks inside a running server: its log says all under an id, its reply says that id and no more."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.surfaces.cli.command_line import PATIENCE_S, environment
from tests.surfaces.http.house import problem_of


@pytest.mark.slow
def test_a_fault_stands_in_the_log_under_the_id_that_is_all_the_reply_tells(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "tests.surfaces.http.breaking", str(data)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(PYTHONPATH="src")
    ) as process:
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if line.startswith("serving http"))
            key = (data / "state" / "owner.key").read_text().strip()
            reply = httpx.post(
                f"{said.split()[1].rstrip(',')}/v1/operations/probe.broken",
                json={"secret": "between us"},
                headers={"X-API-Key": key},
                timeout=PATIENCE_S,
            )
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE_S)

    problem = problem_of(reply, 500, "internal")
    id = reply.headers["x-invocation-id"]
    assert problem["invocation"] == id
    assert not any(word in reply.text for word in ("the probe broke", "RuntimeError", "Traceback", "probe.py"))

    lines: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines()]
    (line,) = [one for one in lines if one.get("invocation") == id]
    assert (line["level"], line["logger"], line["message"]) == ("error", "superagent", "a call broke")
    assert "RuntimeError: the probe broke" in line["error"]
    assert "probe.py" in line["error"]
    assert not any(secret in out + err for secret in (key, "between us"))
    assert process.returncode == 0
