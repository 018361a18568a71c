"""Views are lent, kept and swept: nothing of them is left behind, whoever dies, and nobody takes what is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator

import pytest

from superagent.core.problems import Conflict, NotFound, TooLarge, Unavailable
from superagent.runtime.sandbox import views as views_file
from superagent.runtime.sandbox.view import Mounting
from superagent.runtime.sandbox.view_accept import staging_name
from superagent.runtime.sandbox.view_copy import CopyBounds
from superagent.runtime.sandbox.views import KEPT_S, Use
from tests.promise import ROOT
from tests.runtime.sandbox.viewing import GID, UID, WAYS, Desk, desk, run_on, state_of
from tests.until import until


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def left(made: Desk) -> tuple[list[str], list[str]]:
    """Give what lies in the folders of views and of records."""
    return os.listdir(made.views.folder), os.listdir(made.top / "records")


def test_a_view_is_open_to_its_user_alone(made: Desk, way: Mounting) -> None:
    made.real.chmod(0o2750)
    with made.make(way) as use:
        info = os.stat(use.view.folder)
        assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o700, UID, GID)
        assert os.stat(use.view.upper).st_mode == os.stat(made.real).st_mode
        assert os.stat(made.views.folder).st_mode & 0o7777 == 0o711
        assert os.stat(made.top / "records").st_mode & 0o7777 == 0o700
        run_on(use.view, "touch x")
        assert [one.path for one in made.diff(use.record.id).differences] == ["x"]


def test_discarding_removes_everything_and_touches_nothing_real(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "d/b": "y"})
    before = state_of(made.real)
    id = made.after(way, "rm -r d; mkdir -p c/c; touch c/c/x; chmod 0 c/c c; ln -s / root; mkfifo p")
    with made.views.alone(id) as use:
        made.views.discard(use)
    assert left(made) == ([], [])
    assert state_of(made.real) == before
    with pytest.raises(NotFound):
        made.views.use(id)


def test_nobody_takes_a_view_that_is_in_use(made: Desk) -> None:
    use = made.make("before")
    with pytest.raises(Conflict, match="still runs"):
        made.views.alone(use.record.id)
    with made.views.use(use.record.id):
        use.close()
        use.close()
        with pytest.raises(Conflict):
            made.views.alone(use.record.id)
    with made.views.alone(use.record.id), pytest.raises(Conflict):
        made.views.use(use.record.id)
    made.views.use(use.record.id)  # a loan that nobody holds is given back
    made.views.alone(use.record.id).close()


def test_what_rests_is_kept_until_its_time_is_over(made: Desk) -> None:
    id = made.after("before", "touch x")
    assert made.views.sweep() == 0
    made.time += KEPT_S - 1
    assert made.views.sweep() == 0
    made.time += 1
    assert made.views.sweep() == 1
    assert left(made) == ([], [])
    with pytest.raises(NotFound):
        made.views.alone(id)


def test_a_view_that_was_given_back_without_rest_is_swept(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x"})
    with made.make(way) as use:
        run_on(use.view, "rm a; mkdir d; chmod 0 d")
        assert made.views.sweep() == 0
    assert made.views.sweep() == 1
    assert left(made) == ([], [])


def test_a_paused_view_is_kept_until_its_time_is_over(made: Desk) -> None:
    use = made.make("before")
    use.pause()
    assert made.views.sweep() == 0
    with made.views.use(use.record.id) as again:
        again.go_on()
    made.views.use(use.record.id).pause()
    made.time += KEPT_S
    assert made.views.sweep() == 1
    assert left(made) == ([], [])


def test_a_view_of_a_killed_server_is_swept_and_no_other(made: Desk) -> None:
    made.fill({"a": "x"})
    mine = made.make("before")
    code = f"""
        import sys
        from pathlib import Path
        from superagent.runtime.sandbox.views import Views
        views = Views(Path({str(made.views.folder)!r}), Path({str(made.top / "records")!r}), lambda: 0.0)
        use = views.make(
            {str(made.real)!r}, tenant="t", chain=("x",), mounting="copy", uid={UID}, gid={GID}
        )
        print(use.record.id, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "src",
    ) as server:
        assert server.stdout is not None
        id = server.stdout.readline().strip()
        assert made.views.sweep() == 0
        server.send_signal(signal.SIGKILL)
        server.wait(20)
    assert until(made.views.sweep, "the sweep of the dead server's view") == 1
    assert os.listdir(made.views.folder) == [mine.record.id]
    with pytest.raises(NotFound):
        made.views.use(id)


def test_what_a_crash_left_in_parts_is_swept(made: Desk) -> None:
    records = made.top / "records"
    orphan, torn, half = ("1" * 32, "2" * 32, "3" * 32)
    (made.views.folder / orphan / "upper").mkdir(parents=True)
    (records / f"{torn}.lock").touch()
    (records / f"{torn}.json").write_text('{"id": ')
    (made.views.folder / torn).mkdir()
    (records / f"{half}.origin-new").touch()
    (records / f"{half}.lock").touch()
    held = os.open(records / f".lock-{'4' * 32}", os.O_CREAT | os.O_RDWR, 0o600)
    made.views.sweep()
    assert left(made) == ([], [f".lock-{'4' * 32}"])  # somebody may be about to hold it
    os.close(held)
    os.utime(records / f".lock-{'4' * 32}", (0, 0))
    made.time = 4000.0
    assert made.views.sweep() == 1
    assert left(made) == ([], [])


def test_what_a_cut_off_accepting_left_in_the_folder_is_swept(made: Desk) -> None:
    id = made.after("before", "touch x")
    with made.views.use(id) as use:
        staging = made.real / staging_name(use.view)
    (staging / "d").mkdir(parents=True)
    (staging / "d" / "f").write_text("half")
    made.views.sweep()
    assert os.listdir(made.real) == []
    assert made.views.use(id)  # and the view is still there


def test_a_view_of_a_folder_that_is_gone_can_be_dropped(made: Desk) -> None:
    id = made.after("before", "touch x")
    made.real.rmdir()
    with made.views.alone(id) as use:
        made.views.discard(use)
    assert left(made) == ([], [])


def test_one_principal_holds_only_so_many(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_file, "MOST_PER_PRINCIPAL", 2)
    uses = [made.make("before"), made.make("before")]
    with pytest.raises(TooLarge, match="holds 2 views already") as caught:
        made.make("before")
    assert "sandbox.discard" in (caught.value.hint or "")
    assert made.make("before", chain=("bea", "ada"))
    del uses


@pytest.mark.parametrize("place", ["views", "", "views/inner"])
def test_a_view_never_holds_views(made: Desk, place: str) -> None:
    (made.views.folder / "inner").mkdir()
    with pytest.raises(Conflict, match="the platform's own views"):
        made.views.make(str(made.top / place).rstrip("/"), tenant="t", chain=("a",), mounting="copy", uid=UID, gid=GID)
    assert os.listdir(made.top / "records") == []


def test_a_folder_that_is_none_is_said(made: Desk) -> None:
    (made.real / "f").touch()
    (made.top / "link").symlink_to(made.real)
    for name in ("nowhere", "real/f", "link"):
        with pytest.raises((NotFound, Conflict)):
            made.views.make(str(made.top / name), tenant="t", chain=("a",), mounting="copy", uid=UID, gid=GID)
    assert left(made) == ([], [])


def test_root_never_runs_on_a_view(made: Desk) -> None:
    with pytest.raises(Unavailable, match="unprivileged user"):
        made.views.make(str(made.real), tenant="t", chain=("a",), mounting="copy", uid=0, gid=0)


@pytest.mark.parametrize("id", ["", "x", "../records/x", "0" * 31, "g" * 32, "0" * 32])
def test_what_is_no_view_is_not_found(made: Desk, id: str) -> None:
    for lend in (made.views.use, made.views.alone):
        with pytest.raises(NotFound):
            lend(id)
    with pytest.raises(NotFound):
        made.views.records.read(id)


def test_a_copy_that_would_be_too_large_says_the_cure_and_leaves_nothing(made: Desk) -> None:
    made.fill({"a": "x" * 9000, "b": "y", "c": "z"})
    for bounds in (CopyBounds(max_bytes=8192), CopyBounds(max_entries=2)):
        with pytest.raises(Unavailable, match="more than may be copied") as caught:
            made.make("copy", bounds)
        assert "bubblewrap" in (caught.value.hint or "")
        assert left(made) == ([], [])


def test_a_loan_that_is_lost_on_the_way_is_given_back(made: Desk) -> None:
    use: Use | None = made.make("before")
    assert use is not None
    id = use.record.id
    use = None
    made.views.alone(id).close()


def test_a_record_that_cannot_be_read_gives_the_lock_back(made: Desk) -> None:
    id = made.after("before", "true")
    record = made.top / "records" / f"{id}.json"
    kept = record.read_bytes()
    record.write_bytes(b"{}")
    for lend in (made.views.use, made.views.alone):
        with pytest.raises(NotFound):
            lend(id)
    record.write_bytes(kept)
    made.views.alone(id).close()
