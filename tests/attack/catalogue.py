"""Every attack there is."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.cases import escapes, files, kernel, network, processes, proxied, resources

CASES: tuple[Case, ...] = (
    *files.CASES,
    *processes.CASES,
    *resources.CASES,
    *kernel.CASES,
    *network.CASES,
    *proxied.CASES,
    *escapes.CASES,
)
EVERYDAY = tuple(case for case in CASES if case.everyday)
