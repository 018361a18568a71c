"""The system call filters as they are shipped: cBPF programs, ready for `bwrap --seccomp` or `seccomp(2)`."""

from __future__ import annotations

from pathlib import Path

from superagent.core.problems import SandboxUnavailable

FOLDER = Path(__file__).parent
MACHINES = ("x86_64", "aarch64")


def filter_for(machine: str, unix: bool, inet: bool = True) -> bytes:
    """Give the filter for a sandbox of namespaces on a machine, named as `uname -m` names it.

    `unix` allows local sockets with a name, `inet` internet sockets: inside a network namespace of its own, a command
    reaches nothing with them that it was not given. Raises `SandboxUnavailable` where none is shipped.
    """
    _known(machine)
    return (FOLDER / name_of(machine, inet=inet, unix=unix)).read_bytes()


def filter_without_namespaces(machine: str, tcp: bool) -> bytes:
    """Give the filter for a sandbox that shares the host's namespaces, which must refuse what they would hold.

    `tcp` allows to call out by TCP; Landlock then says to which ports. Raises `SandboxUnavailable` likewise.
    """
    _known(machine)
    return (FOLDER / shared_name_of(machine, tcp=tcp)).read_bytes()


def name_of(machine: str, *, inet: bool, unix: bool) -> str:
    """Give the file's name of a variant, which says what sockets it allows."""
    sockets = "+".join(name for name, allowed in (("inet", inet), ("unix", unix)) if allowed)
    return f"{machine}-{sockets or 'none'}.bpf"


def shared_name_of(machine: str, *, tcp: bool) -> str:
    """Give the file's name of a variant without namespaces."""
    return f"{machine}-shared-{'tcp' if tcp else 'none'}.bpf"


def _known(machine: str) -> None:
    if machine not in MACHINES:
        raise SandboxUnavailable(
            f"there is no system call filter for `{machine}`",
            hint=f"the sandbox runs on {' and '.join(MACHINES)}; use a container or a remote node for this machine",
        )
