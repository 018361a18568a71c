"""The server's own log: one JSON line per event on standard error, with the invocation and trace it belongs to."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import msgspec

from superagent.core.redactor import present

_log = logging.getLogger("superagent")
_FIELDS = ("invocation", "trace")


class JsonLines(logging.Formatter):
    """Write a log record as one line of JSON, without the secret values of the call that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if getattr(record, name, "")}
        if record.exc_info and record.exc_info[1]:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        redactor = present.get()
        return msgspec.json.encode(line if redactor is None else redactor.plain(line)).decode()


def set_up(level: str) -> None:
    """Send everything that is logged to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def fault(invocation: str, bug: BaseException) -> None:
    """Log something that broke inside a call, under its id."""
    _log.error("a call broke", exc_info=bug, extra={"invocation": invocation})


def observer_fault(bug: BaseException) -> None:
    """Log an observer that broke; the call it watched is not affected."""
    _log.error("an observer broke", exc_info=bug)
