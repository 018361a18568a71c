"""One server and one browser for all tests of the console."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.surfaces.console.desk import Desk, desk


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Generator[Desk]:
    """Give the desk that lasts as long as this test process."""
    with desk(tmp_path_factory.mktemp("console")) as opened:
        yield opened


@pytest.fixture
def at(office: Desk) -> Generator[Desk]:
    """Give the desk; afterwards no policy was violated and no foreign script ran."""
    yield office
    office.check()
