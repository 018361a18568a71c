"""The probe of a container level: the real profile run on canaries, with what an engine's faults need as cures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace

from superagent.core.commands import Ended
from superagent.core.containment import MIB, PROFILES, Enforcement, Profile
from superagent.core.problems import Problem
from superagent.runtime.sandbox.backend import Backend, Part, Probe, Start
from superagent.runtime.sandbox.containers.cures import cure_of
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.probe import (
    HOG,
    HOG_BYTES,
    KINDS,
    LOOK,
    MEMORY_BYTES,
    PROBE_S,
    Canary,
    canary,
    parts_of,
)

NO_MEMORY_LIMIT = "let the engine make control groups: systemd with cgroup v2 (`Delegate=yes`), or an engine of root"
ODD = "this engine does not do what it was asked: report it, with the output of `superagent doctor`"

CURES = {
    "workspace": "the engine gives containers users of its own (rootless Docker, `userns-remap`): "
    "use one that does not, or rootless Podman"
}
_UNTOLD = "NoNewPrivs is None"  # gVisor's own kernel knows no set-uid programs, and has no such line


async def examine(
    backend: Backend, socket: Part, user: int | None, *, filtered: bool, own_users: bool, own_kernel: bool
) -> Probe:
    """Run the real profile on canaries; `own_…` is what each container has for itself.

    `filtered` says that a system call filter belongs to it.
    """
    parts = [socket]
    held: dict[str, Enforcement] = {}
    profile = PROFILES["workspace-write"]
    try:
        with canary(user) as bird:
            ended, said, wrong = await _run(backend, LOOK, profile, bird, user, held)
            if ended.code != 0:
                seen = wrong.strip() or f"it ended with {ended.code}, limit: {ended.limit or 'none'}"
                return Probe(backend.level, backend.name, (*parts, Part("start", False, seen[:500], cure_of(seen))))
            outside = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS if kind != "user" or own_users}
            found = parts_of(said, outside, filtered=filtered)
            if own_kernel:
                found = [one for one in found if one.seen != _UNTOLD]
            parts += [one if one.holds else replace(one, cure=CURES.get(one.name, ODD)) for one in found]
            small = replace(profile, limits=replace(profile.limits, memory_bytes=MEMORY_BYTES))
            _, hog, _ = await _run(backend, HOG, small, bird, user, held)
            whole = hog.strip() == str(HOG_BYTES)
            trouble = "four times the limit could be used"
            parts.append(
                Part("memory limit", not whole, trouble if whole else "held", NO_MEMORY_LIMIT if whole else "")
            )
    except Problem as problem:
        parts.append(Part("start", False, problem.detail, problem.hint or cure_of(problem.detail)))
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


async def _nowhere(_: AsyncIterator[bytes]) -> str:
    return ""
