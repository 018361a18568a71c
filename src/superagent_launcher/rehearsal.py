"""What a launcher does while nothing is asked of it: the work of a start and of an end, to no effect.

A page of memory that is shared with a forked child is copied when it is next written to, and Python writes to whatever
it looks at. Two hundred copies take longer than the start of a command, so they are made while nobody waits.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from superagent_launcher import child
from superagent_launcher.asked import LIMITS, Start
from superagent_launcher.groups import Group
from superagent_launcher.wire import Wire

_EXAMPLE: dict[str, Any] = {
    "do": "start", "run": 1, "program": "/", "options": [], "command": ["true"], "numbers": [0, 1, 2], "mounts": [],
    "uid": 1, "limits": dict.fromkeys(LIMITS, 1.0),
    "confine": {
        "readable": ["/usr"], "writable": [], "devices": ["/dev/null"], "filter": "0600000000000000",
        "env": [["PATH", "/usr/bin"], ["HOME", "/"]], "cwd": "",
    },
}  # fmt: skip


def rehearse(group: Group | None, controllers: frozenset[str]) -> None:
    """Read a start and pass it on, and look at what a group has used, as for a command that ends."""
    ours, theirs = (Wire(end) for end in socket.socketpair())
    theirs.send(_EXAMPLE, (0, 0, 0))
    for said, descriptors in ours.receive():
        asked = Start(said, len(descriptors))
        limits = child.rlimits(asked.limits, controllers, as_tenant=True)
        ours.send({"argv": asked.command, "limits": limits, "confine": asked.confine}, tuple(descriptors))
        for one in descriptors:
            os.close(one)
    if group is not None:
        group.cpu_s()
        group.usage(now=False)
    ours.close()
    theirs.close()
