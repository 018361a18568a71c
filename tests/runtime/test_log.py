"""The log: one JSON line per event, under the invocation it belongs to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from superagent.runtime import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_what_breaks_stands_in_the_log_under_its_invocation(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError as bug:
        log.fault("01ABC", bug)
        log.observer_fault(bug)
    call, observer = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (call["level"], call["invocation"]) == ("error", "01ABC")
    assert "ZeroDivisionError: a bug" in call["error"]
    assert "invocation" not in observer


def test_a_plain_line_has_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("warning")
    logging.getLogger("x").warning("so and so")
    logging.getLogger("x").info("not this")
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (line["message"], line["logger"]) == ("so and so", "x")
    assert "error" not in line
