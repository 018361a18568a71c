"""The job room: what the operations on jobs and schedules stand on, put together."""

from __future__ import annotations

from superagent.core.kernel import Kernel
from superagent.core.lookup import Found
from superagent.data.database import Database
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.job_hands import JobHands
from superagent.runtime.jobs import Jobs
from superagent.runtime.keys import FileKeys
from superagent.runtime.schedules import Schedules
from superagent.runtime.work import SqlWork
from superagent.runtime.work_logs import StoredLogs


class JobRoom:
    """The commands of jobs from the start, and all else once there is a kernel."""

    def __init__(self, database: Database, keys: FileKeys, work: SqlWork, identity: SqlIdentity) -> None:
        self._database = database
        self._keys = keys
        self._work = work
        self._identity = identity
        self.hands = JobHands(StoredLogs(database, keys))

    def open(self, kernel: Kernel, records: Found, *, fires: bool) -> tuple[Jobs, Schedules]:
        """Give jobs and schedules; schedules make their calls only in a process that `fires`."""
        jobs = Jobs(kernel, records, self._work, self.hands.logs, self.hands)
        return jobs, Schedules(kernel, self._database, self._keys, self._identity, fires=fires)
