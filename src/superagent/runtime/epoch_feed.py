"""The epoch feed: what one host's processes changed about policy, identity or taint, told to those of all others."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, String, select
from sqlalchemy.exc import DBAPIError

from superagent.data.areas import Area
from superagent.data.dialect import Dialect
from superagent.runtime.shared_map import Epoch

AREA = Area("epochs", "epochs_0001", Path(__file__).parent / "migrations" / "versions")
EPOCHS = AREA.instance_table(
    "epochs_counters", Column("name", String(16), primary_key=True), Column("value", BigInteger, nullable=False)
)
CHANNEL = "superagent_epochs"
POLL_S = 0.5
"""How often the counters are looked at, in case a notification was lost with a connection (rules.md 29)."""

RETRY_S = 1.0
_log = logging.getLogger(__name__)


class EpochFeed:
    """Tell other hosts, and hear from them: by NOTIFY at once, by looking every half second at the latest.

    Our own changes come back to us, too: one look more at the database, and no wrong answer.
    """

    def __init__(self, dialect: Dialect, epochs: Mapping[str, Epoch]) -> None:
        self._dialect = dialect
        self._epochs = dict(epochs)
        self._known: dict[str, int] = {}
        self._to_tell: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self.failures = 0  # of telling, each tried again
        self._threads = [
            threading.Thread(target=work, name=f"epochs-{work.__name__.strip('_')}", daemon=True)
            for work in (self._tell_all, self._hear_all)
        ]

    def told(self, name: str) -> Epoch:
        """Give an epoch whose changes are carried to other hosts, within a second."""
        return self._epochs[name].telling(partial(self.tell, name))

    def tell(self, name: str) -> None:
        """Let other hosts know; does not wait."""
        self._to_tell.put(name)

    def start(self) -> None:
        """Begin to hear and to tell."""
        for one in self._threads:
            one.start()

    def close(self) -> None:
        """Tell what is left to tell, then stop."""
        self._to_tell.put(None)
        self._stopping.set()
        for one in self._threads:
            one.join(10)

    # ---- telling, in a thread of its own

    def _tell_all(self) -> None:
        name = self._to_tell.get()
        while name is not None:
            try:
                self._told_once(name)
            except Exception as fault:  # the engine's or the driver's own: whoever is not told honours what was ended
                self.failures += 1
                if self._stopping.wait(RETRY_S):
                    return
                _log.warning("other hosts could not be told of a change, trying again: %s", type(fault).__name__)
                continue
            name = self._to_tell.get()

    def _told_once(self, name: str) -> None:
        with self._dialect.writer() as connection, connection.begin():
            self._dialect.begun(connection)
            raised = EPOCHS.update().where(EPOCHS.c.name == name).values(value=EPOCHS.c.value + 1)
            if not connection.execute(raised).rowcount:
                connection.execute(EPOCHS.insert(), {"name": name, "value": 1})
            connection.exec_driver_sql(f"NOTIFY {CHANNEL}")

    # ---- hearing, in a thread of its own

    def _hear_all(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._dialect.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    self._hear(connection)
            except DBAPIError as fault:
                _log.warning("changes of other hosts cannot be heard, trying again: %s", type(fault.orig).__name__)
                self._stopping.wait(RETRY_S)
            except Exception:
                if not self._stopping.is_set():
                    _log.exception("changes of other hosts cannot be heard, trying again")
                self._stopping.wait(RETRY_S)

    def _hear(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        driver: Any = connection.connection.driver_connection
        while not self._stopping.is_set():
            self._look(connection)
            with suppress(StopIteration):
                next(driver.notifies(timeout=POLL_S, stop_after=1))

    def _look(self, connection: Connection) -> None:
        for name, value in connection.execute(select(EPOCHS.c.name, EPOCHS.c.value)):
            if name in self._epochs and self._known.get(name) != value:
                self._known[name] = value
                self._epochs[name].bump()  # also at the first look: nobody knows what was missed before it
