"""Become what a sandboxed command is started as, then be that command: cgroup, terminal, limits, user, exec.

Run by its path as `python3 -I -S step_down.py JSON`; it needs nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import sys
import termios

LIMITS = {
    "memory_bytes": resource.RLIMIT_DATA,
    "processes": resource.RLIMIT_NPROC,
    "cpu_s": resource.RLIMIT_CPU,
    "file_bytes": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "locked_bytes": resource.RLIMIT_MEMLOCK,
}


def main() -> None:
    step = json.loads(sys.argv[1])
    for folder in step["cgroups"]:
        with open(f"{folder}/tasks", "w") as tasks:
            tasks.write(str(os.getpid()))
    os.setsid()
    if step["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for name, value in step["rlimits"].items():
        resource.setrlimit(LIMITS[name], (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if step["drop"]:
        libc = ctypes.CDLL(None)
        for capability in range(64):
            libc.prctl(24, capability, 0, 0, 0)
    if os.geteuid() == 0 and step["uid"]:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.setgroups([])
        os.setresgid(step["uid"], step["uid"], step["uid"])
        os.setresuid(step["uid"], step["uid"], step["uid"])
        if os.geteuid() == 0:
            raise SystemExit("still root")
    os.chdir(step["cwd"])
    environment = os.environ if step["env"] is None else step["env"]
    os.execve(step["argv"][0], step["argv"], environment)  # noqa: S606 - a shell is what is not wanted


if __name__ == "__main__":
    main()
