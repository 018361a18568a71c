"""Needs: skip a test loudly when its real counterpart is not on this machine; where CI should have it, fail."""

from __future__ import annotations

import os
import shutil


def program(name: str, package: str | None = None) -> str:
    """Give the path of an installed program.

    Without it the test is skipped, naming the Debian package that brings it; under `CI`, where .ci/run installs it,
    the test fails.
    """
    found = shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if found:
        return found
    return missing(f"`{name}` is not installed: apt install {package or name}")


def missing(reason: str) -> str:
    """Skip the running test because something real is not here, or fail it where CI should have it."""
    import pytest  # `make film` uses what is here without the packages of the tests

    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
