"""Cures: what to do when this machine lets no sandbox be set up, by what was said and how the machine is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SETTINGS = (
    "user/max_user_namespaces",
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
)
_NAMESPACE = ("namespace", "uid map", "gid map", "rtm_newaddr", "operation not permitted", "permission denied")
_CONTAINER = (
    "start this container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`, or let "
    "commands run elsewhere"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """How a machine is set: kernel settings by name (those that it has), whether this is a container, its users.

    `users` is how many users exist in this process's user namespace.
    """

    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    container: bool = False
    users: int = 2**32 - 1

    @classmethod
    def here(cls, proc: Path = Path("/proc"), root: Path = Path("/")) -> Machine:
        """Look at this machine."""
        settings: dict[str, str] = {}
        for name in SETTINGS:
            try:
                settings[name] = (proc / "sys" / name).read_text("ascii").strip()
            except OSError:
                continue
        marks = (root / ".dockerenv", root / "run" / ".containerenv")
        try:
            rows = [line.split() for line in (proc / "self" / "uid_map").read_text("ascii").splitlines()]
            users = max((int(first) + int(count) for first, _, count in rows), default=0)
        except (OSError, ValueError):
            users = cls().users
        return cls(settings, any(os.path.lexists(mark) for mark in marks), users)


def cure_of(said: str, machine: Machine) -> str:
    """Give what to do about a sandbox that did not start; empty when what was said is not known."""
    text = said.lower()
    if "invalid argument" in text and machine.users < 2**31:
        return (
            f"this container has users up to {machine.users - 1}: set `sandbox.first_user` and `sandbox.users` within"
        )
    if not any(word in text for word in _NAMESPACE):
        return ""
    if machine.settings.get("user/max_user_namespaces") == "0":
        return "allow user namespaces: `sysctl -w user.max_user_namespaces=16384`, and in /etc/sysctl.d to keep it"
    if machine.settings.get("kernel/unprivileged_userns_clone") == "0":
        return "allow user namespaces: `sysctl -w kernel.unprivileged_userns_clone=1`, and in /etc/sysctl.d to keep it"
    if machine.settings.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        # the restriction protects the rest of the machine, so nobody is told to switch it off
        return (
            "AppArmor allows namespaces only to named programs: give bubblewrap a profile with `userns,` in "
            "/etc/apparmor.d/bwrap (Ubuntu: `apt install apparmor-profiles`, then copy bwrap-userns-restrict there)"
        )
    if machine.container:
        return _CONTAINER
    return "this kernel or its policy refuses namespaces to this user: see the kernel's log"
