"""The launcher's entry: one socket that it inherits, the users that it may give away, and nothing else.

It is run as a file, in isolated mode and without site packages, so it finds its own package by itself.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Serve on an inherited socket: `<descriptor> <first user> <how many> [uncontained]`."""
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from superagent_launcher import leftovers, system
    from superagent_launcher.cgroups import hierarchies, name_of
    from superagent_launcher.child import staging_works
    from superagent_launcher.groups import Groups
    from superagent_launcher.serving import Launcher
    from superagent_launcher.wire import Wire

    descriptor, first, count = (int(one) for one in arguments[:3])
    alone(descriptor)
    system.adopt_orphans()
    found = hierarchies()
    leftovers.sweep(found)
    name = name_of(os.getpid())
    users = range(first, first + count) if os.geteuid() == 0 else range(0)
    bare = arguments[3:] == ["uncontained"]
    Launcher(Wire.of(descriptor), Groups(found, name), name, users, staging_works(), uncontained=bare).serve()


def alone(descriptor: int) -> None:
    """Keep nothing of whoever started this but the one descriptor; no terminal, no folder, no standard input."""
    for one in [int(name) for name in os.listdir("/proc/self/fd")]:
        if one > 2 and one != descriptor:
            try:
                os.close(one)
            except OSError:
                continue  # the one by which the folder was read
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1):
        os.dup2(null, number)
    os.close(null)
    os.set_inheritable(descriptor, False)
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir("/")
    os.umask(0o022)


if __name__ == "__main__":
    main(sys.argv[1:])
