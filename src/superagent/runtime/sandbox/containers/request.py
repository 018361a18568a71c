"""The request that makes a container: everything it may not do, in the engine's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from superagent.core.containment import MIB
from superagent.core.problems import InvalidInput, SandboxUnavailable
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.bubblewrap import ENVIRONMENT, Mount
from superagent.runtime.sandbox.view import INSIDE

LEAST_PROCESSES = 16
LEAST_MEMORY = 16 * MIB
PERIOD_US = 100_000
HANDED = "/run/superagent"
"""Where further files that a command is handed by number lie inside."""

HIDDEN = (
    "/proc/acpi", "/proc/asound", "/proc/bus", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore",
    "/proc/keys", "/proc/key-users", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats",
    "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/timer_list",
    "/proc/timer_stats", "/proc/vmallocinfo", "/sys",
)  # fmt: skip
READ_ONLY = ("/proc/fs", "/proc/irq", "/proc/sys")


@dataclass(frozen=True, slots=True)
class Inside:
    """What all containers of one back end have in common.

    `image` is what they are made from and `volumes` what that image wants to be writable. `mounts` are the folders of
    this machine that all of them see. `path` says that the image has a search path of its own. `init` is what becomes
    the first process, empty for the one that the engine brings.
    """

    image: str
    mounts: tuple[Mount, ...] = ()
    volumes: tuple[str, ...] = ()
    path: bool = False
    init: tuple[str, ...] = ()


def body(
    start: Start,
    inside: Inside,
    *,
    user: str,
    filter: str | None,
    labels: Mapping[str, str],
    stdin: bool,
    handed: Mapping[int, str],
    counts_processes: bool,
    user_processes: int = 0,
    spare_processes: int = 1,
    runtime: str = "",
    namespace: str = "",
    podman: bool = False,
) -> dict[str, Any]:
    """Give the body of `POST /containers/create` (Docker Engine API 1.41).

    `filter` is the profile of system calls, None where the runtime brings its own kernel. `handed` are files of this
    machine by the number under which the command finds them. Without `counts_processes` the system's own count of a
    user's processes holds instead; `user_processes` sets that to another number, 0 leaves it alone. `spare_processes`
    are what is needed beside the command's own. Raises `InvalidInput` and `SandboxUnavailable` for what cannot be had.
    """
    limits = start.profile.limits
    _check(start)
    size = f"size={limits.scratch_bytes}"
    scratch = dict.fromkeys(("/tmp", *inside.volumes), f"rw,exec,nosuid,nodev,mode=1777,{size}")  # noqa: S108
    scratch |= dict.fromkeys(("/run", "/var/tmp"), "rw,noexec,nosuid,nodev,mode=755,size=64k")  # noqa: S108
    cpu_s = math.ceil(limits.cpu_s)  # of each process; of all together, whoever watches it
    ulimits = {
        "core": 0,
        "fsize": limits.file_bytes,
        "memlock": 0,
        "nofile": limits.open_files,
        **({"nproc": user_processes} if user_processes else {}),
        **({} if counts_processes else {"nproc": limits.processes}),
    }
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PATH" or not inside.path}
    security = ["no-new-privileges:true", *([] if filter is None else [f"seccomp={filter}"])]
    if podman:  # which does not look at `MaskedPaths`
        security.append(f"mask={':'.join(HIDDEN)}")
    host: dict[str, Any] = {
        "NetworkMode": "none",
        "Dns": ["127.0.0.1"],  # else the engine shows those of this machine
        "IpcMode": "private",
        "CapDrop": ["ALL"],
        "SecurityOpt": security,
        "ReadonlyRootfs": True,
        "MaskedPaths": list(HIDDEN),
        "ReadonlyPaths": list(READ_ONLY),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # memory and swap together: so there is none
        "PidsLimit": limits.processes + spare_processes if counts_processes else 0,
        "CpuPeriod": PERIOD_US,
        "CpuQuota": max(1000, int(PERIOD_US * limits.cpus)),
        "ShmSize": limits.scratch_bytes,
        "Tmpfs": scratch,  # also where Podman would mount one of any size
        "Ulimits": [
            *({"Name": name, "Soft": value, "Hard": value} for name, value in ulimits.items()),
            {"Name": "cpu", "Soft": cpu_s, "Hard": cpu_s + 1},  # a second between the signal that says why and the end
        ],
        "OomScoreAdj": 1000,
        "Init": not inside.init,  # a command that is process 1 neither dies of signals nor buries its children
        "LogConfig": {"Type": "none", "Config": {}},  # what it writes is ours to keep, once and within its limit
        "RestartPolicy": {"Name": "no"},
        "Mounts": [_mount(one) for one in (*inside.mounts, *_own(start), *_files(handed))],
        **({"Runtime": runtime} if runtime else {}),
        **({"UsernsMode": namespace} if namespace else {}),
    }
    argv = [*inside.init, *_handing(start.argv, handed)]
    return {
        "Image": inside.image,
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "Env": [f"{name}={value}" for name, value in {**environment, **start.env}.items()],
        "WorkingDir": start.cwd,
        "User": user,
        "Hostname": "sandbox",
        "Labels": dict(labels),
        "Tty": False,
        "OpenStdin": stdin,
        "StdinOnce": stdin,
        "AttachStdin": stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }


def workspace_of(start: Start) -> Mount | None:
    """Give the folder that becomes `/workspace`; None for none. Raises `SandboxUnavailable` for a view not copied."""
    if start.view is not None:
        if not start.view.copied:
            raise SandboxUnavailable("containers show a view of a folder as a copy only")
        return Mount(start.view.upper, INSIDE, True)
    if start.workspace and start.profile.workspace != "none":
        return Mount(start.workspace, INSIDE, start.profile.workspace == "write")
    return None


def _check(start: Start) -> None:
    limits = start.profile.limits
    if start.profile.network != "off":
        raise SandboxUnavailable(
            f"the profile `{start.profile.name}` has a network, which containers do not have yet",
            hint="ask for no more than the level `native`, or for a profile without a network",
        )
    if limits.processes < LEAST_PROCESSES or limits.memory_bytes < LEAST_MEMORY:
        raise InvalidInput(
            f"a container needs room for {LEAST_PROCESSES} processes and {LEAST_MEMORY} bytes of memory to start",
            hint="ask for more of `limits`, or for the level `native`",
        )


def _own(start: Start) -> list[Mount]:
    workspace = workspace_of(start)
    further = [Mount(bind.host, bind.inside, bind.writable) for bind in start.binds]
    return [*([] if workspace is None else [workspace]), *further]


def _files(handed: Mapping[int, str]) -> list[Mount]:
    return [Mount(path, f"{HANDED}/{number}") for number, path in handed.items()]


def _handing(argv: tuple[str, ...], handed: Mapping[int, str]) -> list[str]:
    """Give a command that opens what it is handed first; no text of anybody's becomes part of the script."""
    if not handed:
        return list(argv)
    if any(not 2 < number < 10 for number in handed):
        raise SandboxUnavailable("a container is handed files under the numbers 3 to 9 only")
    opening = " ".join(f"{number}<{HANDED}/{number}" for number in handed)
    return ["/bin/sh", "-c", f'exec {opening} && exec "$@"', "sh", *argv]


def _mount(one: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": one.source,
        "Target": one.inside,
        "ReadOnly": not one.writable,
        "BindOptions": {"Propagation": "rprivate"},
    }
