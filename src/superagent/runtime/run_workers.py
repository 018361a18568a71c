"""Worker processes: several servers on one inherited socket, started anew when one dies, stopped together."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

LOOK_S = 0.25
GRACE_S = 10.0


def supervise(count: int, command: Callable[[int], list[str]], inherited: int, ready: Callable[[], None]) -> int:
    """Keep `count` processes running until SIGINT or SIGTERM, each with the descriptor `inherited`; gives the exit code.

    A process that ends by itself is started anew at the next look, a quarter of a second later at most.
    """
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, stop)
    running: dict[int, subprocess.Popen[bytes]] = {}
    said = False
    while not stopping:
        for number in range(count):
            process = running.get(number)
            if process is None or process.poll() is not None:
                running[number] = subprocess.Popen(command(number), pass_fds=[inherited])
        if not said:
            ready()
            said = True
        time.sleep(LOOK_S)
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    for process in running.values():
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return 0
