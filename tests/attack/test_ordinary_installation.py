"""What an ordinary user's installation cannot enforce stands in its results and in its first words, and is tried."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.attack.trial import sandbox_uid
from tests.needs import missing, program
from tests.ordinary_user import open_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
READY_S = 60.0
MANY = """
import os
held, hold = os.pipe()
ends = []
for _ in range(6):
    out, into = os.pipe()
    if os.fork() == 0:
        kept = bytearray(os.urandom(1 << 20) * 100)
        os.write(into, b"x")
        os.read(held, 1)
        os._exit(0)
    os.close(into)
    ends.append(out)
print(sum(len(os.read(out, 1)) for out in ends), flush=True)
os._exit(0)
"""


@contextmanager
def ordinary_server() -> Generator[httpx.Client]:
    """Serve as an ordinary user in a folder of its own, and give what asks it as its owner."""
    program("bwrap", "bubblewrap")
    uid, root = sandbox_uid(), os.geteuid() == 0
    with open_folder() as folder:
        python, variables = _python(uid)
        process = subprocess.Popen(
            [python, "-m", "superagent", "--data", str(folder / "data"), "up", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd="/",
            env={"PATH": os.defpath, "HOME": str(folder), **variables},
            user=uid if root else None, group=uid if root else None, extra_groups=[] if root else None,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("commands run"):
                    break
            address = next(line.split()[1].rstrip(",") for line in said if line.startswith("serving "))
            key = (folder / "data" / "state" / "owner.key").read_text().strip()
            headers = {"Authorization": f"Bearer {key}", "X-Said": said[-1].encode("ascii", "replace").decode().strip()}
            with httpx.Client(base_url=address, headers=headers, timeout=READY_S) as client:
                yield client
        finally:
            process.terminate()
            process.communicate(timeout=READY_S)


def _python(uid: int) -> tuple[str, dict[str, str]]:
    """Give a Python that this user can run, and what leads it to the platform and its libraries."""
    own = Path(sys.executable).resolve()
    if uid == os.getuid() or all(place.stat().st_mode & 0o001 for place in (own, *own.parents)):
        return sys.executable, {}
    other = program("python3")
    shown = subprocess.run([other, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    libraries = Path(sysconfig.get_path("purelib"))
    closed = [one for one in (libraries, ROOT / "src") for place in (one, *one.parents) if not place.stat().st_mode & 1]
    if shown.stdout.split() != [str(one) for one in sys.version_info[:2]] or closed:
        missing("no Python of this version lies where an ordinary user can run it")
    return other, {"PYTHONPATH": f"{ROOT / 'src'}:{libraries}", "PYTHONDONTWRITEBYTECODE": "1"}


def ran(client: httpx.Client, argv: list[str], **input: Any) -> tuple[dict[str, Any], dict[str, str]]:
    answer = client.post("/v1/operations/shell.exec", json={"argv": argv, **input})
    assert answer.status_code == 200, answer.text
    return answer.json()["output"], answer.json()["isolation"]["limits"]


@pytest.fixture(scope="module")
def server() -> Generator[httpx.Client]:
    with ordinary_server() as client:
        yield client


def test_what_is_not_enforced_is_said_at_the_start_and_in_each_result(server: httpx.Client) -> None:
    _, limits = ran(server, ["true"])
    weak = {name: how for name, how in limits.items() if how != "enforced"}

    assert set(weak.values()) <= {"partial", "none"}
    for name, how in weak.items():
        assert f"{name} {how}" in server.headers["X-Said"]
    if os.geteuid() == 0:  # the user that was made up for this test has been given no control groups
        assert {"memory", "cpu", "cpus"} <= set(weak)


def test_memory_over_several_processes_is_held_or_not_claimed(server: httpx.Client) -> None:
    shown, limits = ran(server, ["/usr/bin/python3", "-I", "-S", "-c", MANY], limits={"memory_bytes": 240 << 20})

    if shown["stdout"].strip() == "6":  # 600 MiB
        assert limits["memory"] in ("partial", "none")
    else:
        assert limits["memory"] == "enforced", shown


def test_memory_of_one_process_and_the_disk_are_held_all_the_same(server: httpx.Client) -> None:
    one, _ = ran(server, ["/usr/bin/python3", "-I", "-c", "bytearray(600 << 20)"], limits={"memory_bytes": 240 << 20})
    flood, _ = ran(server, ["head", "-c", "200M", "/dev/zero"], limits={"output_bytes": 1 << 20})
    full, limits = ran(
        server, ["sh", "-c", "head -c 100M /dev/zero > a; head -c 100M /dev/zero > b"], limits={"disk_bytes": 64 << 20}
    )

    assert one["exit_code"] != 0
    assert flood["limit"] == "output"
    assert full["limit"] == "disk"
    assert limits["disk"] == "enforced"
