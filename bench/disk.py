"""Disk: how fast this machine's disk makes a small write durable; what any durable record is measured against."""

from __future__ import annotations

import os
import time
from pathlib import Path

RECORD = b"x" * 512


def sync_times(folder: Path, seconds: float) -> list[float]:
    """Append small records to a file and sync each, for so long; gives the seconds that each took."""
    file = folder / "sync.probe"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    found: list[float] = []
    try:
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            os.write(handle, RECORD)
            os.fdatasync(handle)
            found.append(time.perf_counter() - start)
    finally:
        os.close(handle)
        file.unlink()
    return found
