"""Sparing: how seldom the garbage collector looks, where reference counts free almost all that is made."""

from __future__ import annotations

import gc

STARTING = (10_000, 20, 1_000)
"""Objects made before it looks at the youngest, and looks before it goes a generation further (`gc.set_threshold`)."""

LASTING = (10_000, 20, 20)


def look_seldom() -> None:
    """Let the collector look seldom: what a start makes stays, and walking it again and again took a sixth of it."""
    gc.set_threshold(*STARTING)


def spare_the_lasting() -> None:
    """Keep the garbage collector from walking again and again what stays for as long as the process.

    What a call makes is freed by its reference counts; only faults leave circles, and those can wait a little.
    Without this it took a third of a busy server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*LASTING)


def leave_the_rest() -> None:
    """Let the end of the process not walk what was loaded: for one call that took a quarter of the time."""
    gc.freeze()
