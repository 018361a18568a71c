"""Cures: what to do when an engine makes no container, by what it says."""

from __future__ import annotations

_BY_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("unknown runtime", "unknown or invalid runtime", "runtime runsc"),
        "install gVisor and name it to the engine as the runtime `runsc` (Docker: `runtimes` in daemon.json)",
    ),
    (
        ("exec /bin/sh failed", "failed to exec pid1"),
        "let `sandbox.image` be one with `/bin/sh` and the usual programs, or leave it empty",
    ),
    (
        ("docker-init", "catatonit"),
        "install the small first process of containers: `apt install tini` or `apt install catatonit`",
    ),
    (("hybrid mode",), 'choose runc: `runtime = "runc"` under `[engine]` in containers.conf'),
    (
        ("rlimit",),
        "let the engine raise the limits of processes, or name lower ones as `default_ulimits` in containers.conf",
    ),
    (
        ("source path does not exist", "no such file or directory"),
        "the engine must see the same files as this server: one from a snap, or on a machine of its own, does not",
    ),
    (("cgroup",), "give engine and system the same cgroup driver: `cgroupfs` where systemd is not process 1"),
    (("seccomp",), "install an engine that is built with seccomp"),
    (("permission denied",), "let this user use the engine, or use rootless Podman"),
)


def cure_of(said: str) -> str:
    """Give what to do about a container that did not start."""
    text = said.lower()
    return next((cure for words, cure in _BY_WORDS if any(word in text for word in words)), "see the engine's log")
