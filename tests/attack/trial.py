"""Trying an attack: first where nothing holds it, then in a setting that should."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import itertools
import os
import subprocess

import pytest

from tests.attack.backed import Backed
from tests.attack.bare import Bare
from tests.attack.boxed import Boxed, socket_of
from tests.attack.careless import Careless
from tests.attack.case import Case, Verdict, judge
from tests.attack.cgroup import can_make
from tests.attack.confined import Confined
from tests.attack.ground import prepared
from tests.attack.native import Native
from tests.attack.runner import Ended, Refused, Runner, User
from tests.engines import ENGINES
from tests.launcher.confining import needs_landlock
from tests.needs import missing, program

SETTINGS = (
    *("native-root", "native-ordinary", "landlock-root", "landlock-ordinary"),
    *("backed-root", "backed-ordinary", "backed_landlock-root", "backed_landlock-ordinary"),
    *("pooled-root", "pooled-ordinary"),
    *(f"{name}-root" for name in ENGINES),
)
_FIRST_UID = 1 << 20
_TRIES = 3
_numbers = itertools.count()
_NEW_NETWORK = 0x4000_0000
_shown: dict[str, Verdict] = {}


def sandbox_uid() -> int:
    """Give the user as whom one attack runs: one that nothing else has, where root can choose.

    The system counts the processes of a user, also those that just ended; attacks must not be held by each other's.
    """
    if os.geteuid():
        return os.getuid()
    return _FIRST_UID + os.getpid() % 4096 * 1024 + next(_numbers) % 1024


def runner_for(setting: str) -> Runner:
    """Give the runner of a setting; skips the test where the machine has not got what it takes."""
    level, _, user = setting.partition("-")
    if user == "root":
        if os.geteuid():
            pytest.skip("run by an ordinary user: that setting is tried, this one needs root")
        if not can_make():
            missing("control groups of version 1 are not writable here")
    if level in ENGINES:
        return Boxed(level, socket_of(level), sandbox_uid())
    held_by: User = "root" if user == "root" else "ordinary"
    if level == "landlock":
        needs_landlock()
        return Confined(held_by, sandbox_uid())
    if level.startswith(("backed", "pooled")) and user == "ordinary" and os.geteuid() == 0:
        pytest.skip("run by root: the server would run as root, and that setting is tried")
    if level == "backed_landlock":
        needs_landlock()
        return Backed(held_by, sandbox_uid(), "landlock")
    program("bwrap", "bubblewrap")
    if level == "backed":
        return Backed(held_by, sandbox_uid())
    if level == "pooled":
        return Backed(held_by, sandbox_uid(), "pooled")
    return Native(held_by, sandbox_uid())


async def show(case: Case) -> None:
    """Show once that an attack works where nothing holds it; without that its being held means nothing."""
    for _ in range(_TRIES):  # a busy machine slows an attack down until a deadline stops it, which is no one's merit
        if case.id not in _shown or _shown[case.id].kind != "escaped":
            _shown[case.id] = (await attempt(_control(case), case))[0]
    verdict = _shown[case.id]
    assert verdict.kind == "escaped", f"the control shows nothing: {verdict}"


def shown_by_root_alone(case: Case) -> bool:
    """Tell whether an ordinary user, as whom this runs, cannot show that an attack works."""
    return os.geteuid() != 0 and case.control in ("root", "private")


def _control(case: Case) -> Runner:
    if shown_by_root_alone(case):
        pytest.skip(f"`{case.id}` can be shown to work only by root")
    if case.control == "careless":
        return Careless(sandbox_uid())
    return Bare(0 if case.control == "root" else sandbox_uid())


def tried(case: Case, setting: str) -> None:
    """Skip the test where there is nothing to try: a network by name is what only the server's own back ends give.

    What has one is started afresh, never in a sandbox that waited.
    """
    if case.way_out is not None and setting.partition("-")[0] in ("native", "landlock", "pooled"):
        pytest.skip("the gate is the server's: the setting with its back end is tried")


async def attempt(runner: Runner, case: Case) -> tuple[Verdict, Ended | None]:
    """Try an attack on fresh ground and judge it; without an outcome when it was not even started."""
    if not case.own_network:
        return await _attempt(runner, case)
    if os.geteuid():
        pytest.skip("only root can make a network with the metadata address here")
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, _in_own_network, runner, case)


async def _attempt(runner: Runner, case: Case) -> tuple[Verdict, Ended | None]:
    with prepared(runner, case.victims) as ground:
        try:
            ended = await runner.contained(case.ask(ground))
        except Refused as refusal:
            if harm := ground.harm():
                return Verdict("escaped", harm), None
            # a command that did not start shows nothing, but where the request itself is the attack
            return Verdict("held" if _may_refuse(runner, case) else "void", f"refused: {refusal}"), None
        return judge(case, ground, ended), ended


def _may_refuse(runner: Runner, case: Case) -> bool:
    return case.shape is not None or (case.way_out is not None and not runner.setting.startswith("backed-"))


def _in_own_network(runner: Runner, case: Case) -> tuple[Verdict, Ended | None]:
    """Do it in a thread that left the machine's network for one of its own, where the address is this very thread's."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
    for command in ("link set lo up", "address add 169.254.169.254/32 dev lo"):
        subprocess.run([program("ip", "iproute2"), *command.split()], check=True, timeout=10)
    return asyncio.run(_attempt(runner, case))
