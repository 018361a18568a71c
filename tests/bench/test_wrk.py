"""What wrk saw is read whole, or not at all."""

from __future__ import annotations

import resource

import pytest

from bench import wrk

OUTPUT = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 64 connections
BENCH {"requests":9000,"duration_us":1500000,"p50_us":900,"p99_us":12500,"status":3,"connect":1,"read":2,"write":4,\
"timeout":8}
"""


def test_figures_are_read_in_seconds_and_milliseconds_and_errors_by_kind() -> None:
    assert wrk.parse(OUTPUT) == wrk.Load(9000, 1.5, 0.9, 12.5, refused=3, broken=15)


@pytest.mark.parametrize("output", ["", "unable to connect", OUTPUT + OUTPUT])
def test_a_run_that_broke_off_gives_no_figures(output: str) -> None:
    with pytest.raises(ValueError, match="no figures"):
        wrk.parse(output)


def test_without_wrk_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrk, "program", lambda: None)
    with pytest.raises(RuntimeError, match="apt install wrk"):
        wrk.send(1, wrk.Request("/"), 1, 1)


def test_the_limit_of_open_files_is_only_ever_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wrk.allow_open_files(8)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
