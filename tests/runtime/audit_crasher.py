"""Write intents, effects and outcomes to a real audit log, and be killed at random moments; run as a program.

Arguments: the data folder, how many times to be killed, and a seed. Each life is a forked process, so that the
imports are paid once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.runtime.audit_book import a_log, record

AT_ONCE = 8


async def live(data: Path, life: int, begun: int) -> None:
    """Write until the end: an effect is a file that is made after its intent is durable and before its outcome."""
    log = a_log(data / "audit", f"{life:05d}")
    log.start()
    os.close(begun)

    async def work(lane: int) -> None:
        for turn in range(1_000_000):
            number = (life * AT_ONCE + lane) * 1_000_000 + turn
            await log.durable(record(number, "intent"))
            os.close(os.open(data / "effects" / f"call-{number}", os.O_CREAT | os.O_WRONLY))
            log.note(record(number))

    await asyncio.gather(*(work(lane) for lane in range(AT_ONCE)))


def main(data: Path, lives: int, seed: int) -> None:
    """Fork a life, kill it while it starts or while it works, and begin the next one."""
    (data / "effects").mkdir(parents=True, exist_ok=True)
    moments = random.Random(seed)
    for life in range(lives):
        started, begun = os.pipe()
        child = os.fork()
        if child == 0:
            asyncio.run(live(data, life, begun))
            os._exit(1)
        os.close(begun)
        if moments.random() < 0.8:
            os.read(started, 1)  # ends when the life has closed its side: it works now
        os.close(started)
        time.sleep(moments.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"life {life} ended by itself with {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
