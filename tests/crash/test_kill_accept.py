"""A server killed while it accepts a view: what it did can be taken back, nothing lies around, the view is there."""

from __future__ import annotations

import os
import threading
import time

import httpx
import pytest

from superagent.runtime.sandbox.views import Views
from tests.crash.platform import serving
from tests.ordinary_user import open_folder
from tests.runtime.sandbox.viewing import GID, UID, Desk, run_on, state_of
from tests.until import until

FILES = 150


@pytest.mark.slow
def test_an_accepting_cut_off_by_kill_9_can_be_taken_back_and_done_again() -> None:
    with open_folder() as top:
        made = Desk(top)
        made.fill({f"f{number}": "old" for number in range(FILES)} | {"d/x": "x", "d/y": "y"})
        before, data = state_of(made.real), top / "data"
        with serving(data) as server:
            me = server.call("access.whoami")["id"]
            views = Views(data / "views", data / "state" / "views", time.time)
            with views.make(str(made.real), tenant="default", chain=(me,), mounting="before", uid=UID, gid=GID) as use:
                run_on(
                    use.view, f"for n in $(seq 0 {FILES - 1}); do echo new > f$n; done; rm -r d; mkdir t; touch t/1 t/2"
                )
                use.rest()
            asked = {"view": use.record.id, "folder": str(made.real)}

            def accept() -> None:
                try:
                    with server.client() as client:
                        client.post("/v1/operations/sandbox.accept", json=asked)
                except httpx.HTTPError:
                    pass  # the server is gone

            caller = threading.Thread(target=accept)
            caller.start()
            until(lambda: changed(made) > 3, "the first accepted files")
            server.kill()
            caller.join(30)
        assert 0 < changed(made) < FILES, "it ended before it was killed: give it more to do"
        with serving(data) as server:
            assert not [name for name in os.listdir(made.real) if name.startswith(".superagent")]
            (invocation,) = {one["invocation"] for one in server.call("undo.list", limit=1000)["entries"]}
            server.call("undo.apply", ids=[invocation])
            assert state_of(made.real) == before
            assert server.call("sandbox.diff", **asked, limit=1)["total"] == FILES + 6
            assert server.call("sandbox.accept", **asked)["left"] == 0
            assert changed(made) == FILES
            assert not os.listdir(data / "views")


def changed(made: Desk) -> int:
    return sum((made.real / f"f{number}").read_text() == "new\n" for number in range(FILES))
