"""Engines: a real dockerd or Podman of the test's own, in a folder of its own, that changes nothing of the network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.until import until

START_S = 30.0
SHIMS = Path("/run/containerd/s")  # where containerd's helpers listen, whatever folder it was given
GROUPS = Path("/sys/fs/cgroup")
ENGINES = ("docker", "podman", "gvisor")
_PATH = os.defpath + ":/usr/sbin:/sbin:" + os.environ.get("PATH", "")
EVERYDAY = "docker" if shutil.which("dockerd", path=_PATH) or not shutil.which("podman", path=_PATH) else "podman"
"""The engine of everyday tests; the other one is for `make attack`."""

each_engine = [
    pytest.param(name, marks=() if name == EVERYDAY else pytest.mark.attack) for name in ("docker", "podman")
]
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
"""


@contextmanager
def engine(name: str) -> Generator[str]:
    """Start an engine and give the path of its socket; skips loudly where that cannot be, also in CI.

    What CI installs is a matter of size, so a missing engine is no fault of CI.
    """
    with _folder() as folder:
        path = folder / "engine.sock"
        command, variables = _COMMANDS[name](folder, path)
        log = folder / "log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=variables, cwd=folder
            )
        try:
            until(lambda: _answers(path) or process.poll() is not None, f"the start of {name}", START_S)
            if process.poll() is not None:
                pytest.skip(f"{name} does not start here: {log.read_text('utf-8', 'replace')[-500:]}")
            yield str(path)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _docker(folder: Path, path: Path) -> tuple[list[str], Mapping[str, str]]:
    command = [
        _installed("dockerd", "docker.io"), "--config-file", str(folder / "daemon.json"),
        "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
        "--host", f"unix://{path}", "--cgroup-parent", f"/{folder.name}", "--bridge=none", "--iptables=false",
        "--ip-forward=false", "--ip-masq=false",
    ]  # fmt: skip
    (folder / "daemon.json").write_text("{}")
    return command, os.environ


def _gvisor(folder: Path, path: Path) -> tuple[list[str], Mapping[str, str]]:
    command, variables = _docker(folder, path)
    runsc = {"path": _installed("runsc", "runsc"), "runtimeArgs": ["--platform=ptrace", "--network=none"]}
    (folder / "daemon.json").write_text(json.dumps({"runtimes": {"runsc": runsc}}))
    return command, variables


def _podman(folder: Path, path: Path) -> tuple[list[str], Mapping[str, str]]:
    for program, package in (("runc", "runc"), ("conmon", "conmon")):
        _installed(program, package)
    (folder / "containers.conf").write_text(_CONTAINERS_CONF)
    command = [
        _installed("podman", "podman"), "--root", str(folder / "root"), "--runroot", str(folder / "runroot"),
        "--tmpdir", str(folder / "tmp"), "system", "service", "--time", "0", f"unix://{path}",
    ]  # fmt: skip
    variables = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "XDG_RUNTIME_DIR": str(folder)}
    return command, variables


_COMMANDS: Mapping[str, Callable[[Path, Path], tuple[list[str], Mapping[str, str]]]] = {
    "docker": _docker,
    "podman": _podman,
    "gvisor": _gvisor,
}


def _installed(name: str, package: str) -> str:
    if os.geteuid():
        pytest.skip("only root can start an engine of its own here")
    found = shutil.which(name, path=_PATH)
    return found or pytest.skip(f"`{name}` is not installed: apt install {package}")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            probe.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b"200 OK" in probe.recv(4096)
        except OSError:
            return False


@contextmanager
def _folder() -> Generator[Path]:
    """Give a folder with a short name, since a socket lies in it; leave no process, mount or group behind."""
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    try:
        yield folder
    finally:
        until(lambda: not _ended(folder), f"the end of what {folder} started")
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, timeout=10)
        until(
            lambda: not [one for one in GROUPS.glob(f"*/{folder.name}") if not _rmdir(one)],
            "the end of an engine's groups",
        )
        for place in GROUPS.glob("*/libpod_parent"):  # Podman's, which others may use
            _rmdir(place)
        for place in SHIMS.glob("*"):
            _remove_dead(place)
        shutil.rmtree(folder, ignore_errors=True)


def _ended(folder: Path) -> set[int]:
    """End what an engine started and did not end, and give it: helpers of its own, and what runs in its groups.

    Each helper names the folder, which is nobody else's, in its command; the groups bear its name.
    """
    found: set[int] = set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{folder}/".encode() in (place / "cmdline").read_bytes():
                found.add(int(place.name))
    for group in GROUPS.glob(f"*/{folder.name}/**/cgroup.procs"):
        with suppress(OSError):
            found |= {int(pid) for pid in group.read_text().split()}
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def _remove_dead(place: Path) -> None:
    """Remove a socket at which nobody listens any more: what ends in the middle does not do that itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.settimeout(5)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)


def _rmdir(group: Path) -> bool:
    """Remove a control group and say whether it is gone; one in which processes live stays."""
    with suppress(OSError):
        for inner in [one for one in group.iterdir() if one.is_dir()]:
            _rmdir(inner)
        group.rmdir()
    return not group.exists()
