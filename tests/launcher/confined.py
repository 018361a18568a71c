"""Confine this process as it is told, then become a command: `python3 -I -S confined.py JSON`.

What the launcher does in its forked child, as a program of its own for tests. `keep` stays behind to end all that the
command leaves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn


def main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    sys.path.insert(0, told["source"])
    from superagent_launcher import brood, landlock

    program = None
    if told["filter"] is not None:
        with open(told["filter"], "rb") as file:
            program = file.read()

    def become() -> NoReturn:
        os.chdir(told["cwd"])
        landlock.confine(told["readable"], told["writable"], told["devices"], told["ports"], program)
        os.execve(told["argv"][0], told["argv"], told["env"])  # noqa: S606 - a shell is what is not wanted

    if told["keep"]:
        raise SystemExit(brood.keep(become))
    become()


if __name__ == "__main__":
    main()
