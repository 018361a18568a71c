"""What a command did in a view is told path by path, whatever it did."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from superagent.runtime.sandbox.view import Mounting
from tests.runtime.sandbox.viewing import WAYS, Desk, desk, state_of


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def test_each_kind_of_change_is_told(made: Desk, way: Mounting) -> None:
    made.fill(
        {"same": "s", "edit": "old\n", "gone": "g", "mode": "m", "d/in": "1", "d/e/deep": "2", "swap": "x", "t": "t"}
    )
    before = state_of(made.real)
    id = made.after(
        way,
        "echo new > edit; rm gone; chmod 755 mode; rm -r d; mkdir fresh; echo n > fresh/n; rm swap; mkdir swap;"
        "echo i > swap/i; ln -s edit link; echo s2 > same; printf s > same; mkfifo pipe; cat t > t2; mv t2 t",
    )
    kinds = {path: one.kind for path, one in made.by_path(id).items()}
    assert kinds == {
        "edit": "modified", "gone": "deleted", "mode": "mode", "d": "deleted", "d/in": "deleted", "d/e": "deleted",
        "d/e/deep": "deleted", "fresh": "directory", "fresh/n": "created", "swap": "replaced", "swap/i": "created",
        "link": "symlink", "pipe": "created",
    }  # fmt: skip
    assert not [one for one in made.diff(id).differences if one.conflict or one.refused or one.notes or one.protected]
    assert state_of(made.real) == before
