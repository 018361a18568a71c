"""The probe: the real profile run on canaries, so that what is claimed of a sandbox was seen on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from superagent.core.commands import Ended
from superagent.core.containment import MIB, PROFILES, Enforcement, Profile
from superagent.core.problems import Problem
from superagent.runtime.instance_lock import started
from superagent.runtime.net.guard import permitting
from superagent.runtime.sandbox.backend import Backend, Part, Probe, Start
from superagent.runtime.sandbox.cures import Machine, cure_of
from superagent.runtime.sandbox.pipes import Pipes

_PREFIX = "superagent-probe-"
_NAME = re.compile(re.escape(_PREFIX) + r"(\d+)-(\d+)-\w+")
_TOLD_BY_PROC = ("namespaces", "no new privileges", "capabilities", "system calls")
KINDS = ("user", "mnt", "pid", "net", "ipc", "uts")
PROBE_S = 30.0
MEMORY_BYTES = 32 * MIB
HOG_BYTES = 4 * MEMORY_BYTES

# each line of output is a name and what was seen; a shell's own words where there is a choice
LOOK = """
for kind in user mnt pid net ipc uts; do echo "ns-$kind $(readlink /proc/self/ns/$kind)"; done
while read -r name value rest; do
    case $name in NoNewPrivs:|Seccomp:|CapEff:|CapBnd:) echo "${name%:} $value" ;; esac
done </proc/self/status
if cat "$CANARY" >/dev/null 2>&1; then echo "canary readable"; else echo "canary closed"; fi
for place in / /usr /etc /dev /proc/sys/kernel /proc/sys/vm; do
    if (: >"$place/superagent-probe") 2>/dev/null; then rm -f "$place/superagent-probe"; echo "outside $place"; fi
done
if (: >superagent-probe) 2>/dev/null; then rm -f superagent-probe; echo "inside writable"; fi
if command -v bash >/dev/null; then
    if bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT" 2>/dev/null; then echo "connect open"; else echo "connect refused"; fi
fi
"""
HOG = f"head -c {HOG_BYTES} /dev/zero | tail -n 1 | wc -c"


@dataclass(frozen=True, slots=True)
class Canary:
    """What a sandbox must not reach: a file that everybody can read, and a port of this machine that is open."""

    folder: Path
    port: int

    @property
    def file(self) -> Path:
        """Give the file."""
        return self.folder / "canary"

    @property
    def workspace(self) -> Path:
        """Give the one folder that it must reach."""
        return self.folder / "workspace"


@contextlib.contextmanager
def canary(user: int | None) -> Generator[Canary]:
    """Set the canaries up, make sure that they can be reached from outside, and remove them. Raises `OSError`.

    They lie where everybody can go, since a closed folder above them would be no merit of the sandbox.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{started(os.getpid())}-"))
    try:
        folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            made = Canary(folder, listening.getsockname()[1])
            made.file.write_text("a canary")
            made.file.chmod(0o644)
            made.workspace.mkdir(0o700)
            if user is not None:
                os.chown(made.workspace, user, user)
            with permitting(("127.0.0.1", made.port)):  # the control: what is refused inside works from here
                socket.create_connection(("127.0.0.1", made.port), timeout=5).close()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove what probes left behind whose process was killed meanwhile: folders of our own user, named after it."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        found = _NAME.fullmatch(place.name)
        with contextlib.suppress(OSError):
            if found and place.lstat().st_uid == os.geteuid() and started(int(found[1])) != int(found[2]):
                shutil.rmtree(place)


async def examine(backend: Backend, user: int | None, *, filtered: bool, alone: bool = True) -> Probe:
    """Run the real profile of a back end on canaries; `filtered` says that a system call filter belongs to it.

    `alone` says that it must have namespaces of its own.
    """
    profile = PROFILES["workspace-write"]
    parts: list[Part] = []
    held: dict[str, Enforcement] = {}
    try:
        with canary(user) as bird:
            ended, said, wrong = await _run(backend, LOOK, profile, bird, user, held)
            if not ended.ran or ended.code != 0:
                return Probe(backend.level, backend.name, (_not_started(ended, wrong),))
            outside = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS} if alone else {}
            parts += parts_of(said, outside, filtered=filtered)
            small = replace(profile, limits=replace(profile.limits, memory_bytes=MEMORY_BYTES))
            _, hog, _ = await _run(backend, HOG, small, bird, user, held)
            parts.append(_bites(hog))
    except Problem as problem:
        machine = Machine.here()
        parts.append(Part("start", False, problem.detail, cure_of(problem.detail, machine) or problem.hint or ""))
    except OSError as bad:
        parts.append(Part("canaries", False, f"cannot be set up: {bad.strerror}", "free space in the temporary folder"))
    return Probe(backend.level, backend.name, tuple(parts), dict(held))


async def _run(
    backend: Backend, script: str, profile: Profile, bird: Canary, user: int | None, held: dict[str, Enforcement]
) -> tuple[Ended, str, str]:
    pipes = Pipes(MIB, _nowhere)
    try:
        pipes.give(script.encode())
        env = {"CANARY": str(bird.file), "PORT": str(bird.port)}
        limits = replace(profile.limits, wall_s=PROBE_S)
        start = Start(
            ("/bin/sh",), replace(profile, limits=limits), "system", env, workspace=str(bird.workspace), user=user,
            stdin=pipes.stdin, stdout=pipes.stdout.writing, stderr=pipes.stderr.writing,
        )  # fmt: skip
        running = await backend.start(start)
    except BaseException:
        pipes.discard()
        raise
    held |= running.isolation.limits
    ended, stdout, stderr = await pipes.carry(running, MIB)
    return ended, stdout.text, stderr.text


def parts_of(said: str, outside: Mapping[str, str], *, filtered: bool) -> list[Part]:
    """Read what the script saw: each part that must hold, and what was seen instead where it does not."""
    seen: dict[str, str] = {}
    for line in said.splitlines():
        name, _, value = line.partition(" ")
        seen[name] = f"{seen[name]} {value}" if name in seen else value
    shared = [kind for kind in outside if seen.get(f"ns-{kind}", outside[kind]) == outside[kind]]
    odd = "this is a fault of the sandbox itself: report it, with the output of `superagent doctor`"
    upgrade = "use the bubblewrap of your distribution, version 0.8 or newer"
    wanted = [
        ("namespaces", not shared, f"shared with the host: {', '.join(shared)}", upgrade),
        ("no new privileges", seen.get("NoNewPrivs") == "1", f"NoNewPrivs is {seen.get('NoNewPrivs')}", upgrade),
        ("capabilities", _zero(seen, "CapEff") and _zero(seen, "CapBnd"), f"CapEff is {seen.get('CapEff')}", upgrade),
        ("files outside", seen.get("canary") == "closed", "a file of the host could be read", odd),
        ("writes outside", "outside" not in seen, f"could be written: {seen.get('outside')}", odd),
        ("workspace", seen.get("inside") == "writable", "the workspace could not be written", odd),
        ("network", seen.get("connect") != "open", "a port of the host could be reached", odd),
    ]
    if filtered:
        wanted.append(("system calls", seen.get("Seccomp") == "2", f"Seccomp is {seen.get('Seccomp')}", upgrade))
    # without namespaces there is no /proc inside that could tell
    wanted = [one for one in wanted if outside or one[0] not in _TOLD_BY_PROC]
    return [
        Part(name, holds, "held" if holds else trouble, "" if holds else cure) for name, holds, trouble, cure in wanted
    ]


def _zero(seen: Mapping[str, str], name: str) -> bool:
    return name in seen and not seen[name].strip("0")


def _bites(said: str) -> Part:
    whole = said.strip() == str(HOG_BYTES)
    cure = "let this user make control groups (systemd: `Delegate=yes`), or start the server as root"
    return Part("memory limit", not whole, "twice the limit could be used" if whole else "held", cure if whole else "")


def _not_started(ended: Ended, said: str) -> Part:
    text = said.strip().removeprefix("bwrap: ") or f"it ended with {ended.code}, limit: {ended.limit or 'none'}"
    return Part("start", False, text[:500], cure_of(text, Machine.here()))


async def _nowhere(_: object) -> str:
    return ""
