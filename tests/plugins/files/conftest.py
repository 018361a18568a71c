"""What the tests of the files plugin share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.files.ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)
