"""Starting commands under Landlock in tests, as root who steps down or as an ordinary user."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from superagent.runtime.sandbox.filters.shipped import filter_without_namespaces
from superagent_launcher import landlock
from tests.attack.native import memory_file
from tests.attack.running import Outcome, Step, run
from tests.needs import missing, program
from tests.promise import ROOT

SHIM = Path(__file__).with_name("confined.py")
READABLE = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def needs_landlock(least: int = 6) -> None:
    if landlock.abi() < least:
        missing(f"this kernel has Landlock ABI {landlock.abi()}, not {least}")


def confined_argv(
    argv: Sequence[str],
    workspace: Path,
    *,
    env: Mapping[str, str],
    cwd: str = "",
    filter_fd: int | None = None,
    ports: Sequence[int] = (),
    keep: bool = True,
) -> tuple[str, ...]:
    """Give the command that confines itself to a workspace and the system's programs, and becomes `argv`."""
    told = {
        "source": str(ROOT / "src"),
        "readable": [path for path in READABLE if Path(path).exists()],
        "writable": [str(workspace)],
        "devices": list(DEVICES),
        "ports": list(ports),
        "filter": filter_fd,
        "keep": keep,
        "cwd": cwd or str(workspace),
        "argv": list(argv),
        "env": {"PATH": "/usr/bin:/bin", "HOME": str(workspace), "TMPDIR": str(workspace), "LANG": "C.UTF-8", **env},
    }
    return (program("python3"), "-I", "-S", str(SHIM), json.dumps(told))


async def confined(
    argv: Sequence[str], workspace: Path, uid: int, *, tcp: bool = False, ports: Sequence[int] = (), keep: bool = True
) -> Outcome:
    """Run a command confined to its end."""
    needs_landlock()
    with ExitStack() as stack:
        fd = stack.enter_context(memory_file(filter_without_namespaces(platform.machine(), tcp=tcp)))
        command = confined_argv(argv, workspace, env={}, filter_fd=fd, ports=ports, keep=keep)
        return await run(Step(command, uid, {}), wall_s=30.0, pass_fds=[fd])
