"""At the end of a run, what was seen is kept if the environment says so."""

from __future__ import annotations

from tests.attack import seen


def pytest_sessionfinish() -> None:
    seen.keep()
