"""Until: wait for something outside of the test's control, in small steps and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.01


def until(check: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Give the first true answer of `check`; fails saying `what` never came."""
    end = time.monotonic() + timeout_s
    while not (answer := check()):
        assert time.monotonic() < end, f"{what} did not come within {timeout_s} s"
        time.sleep(STEP_S)
    return answer


async def until_async(check: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Do the same without stopping the event loop."""
    end = time.monotonic() + timeout_s
    while not (answer := check()):
        assert time.monotonic() < end, f"{what} did not come within {timeout_s} s"
        await asyncio.sleep(STEP_S)
    return answer
