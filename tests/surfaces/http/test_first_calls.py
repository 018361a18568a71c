"""A caller's first call makes its personal key, which waits for the disk: nobody else waits for that."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from superagent.runtime import key_files
from tests.surfaces.http.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_key_of_a_subject_is_made_in_a_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[bool]()
    write, loop = key_files.write_new, threading.current_thread()

    def watched(*given: Any) -> None:
        made.append(threading.current_thread() is loop)
        write(*given)

    agent = await house.agent()
    monkeypatch.setattr(key_files, "write_new", watched)

    await agent.done("access.whoami")

    assert made == [False]
    await agent.done("access.whoami")
    assert made == [False]
