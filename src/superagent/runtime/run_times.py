"""Run times: when a schedule runs next, on the clock of its own time zone.

Where the clock is set forward or back, it is as with Debian's cron: what is due at a time that does not exist runs
right after the gap, what is due at a time that exists twice runs the first time; `*` follows the hours as they are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from superagent.core.problems import InvalidInput

_SUCH = "such as `30 2 * * mon-fri`; minutes 0 to 59, hours 0 to 23, days 1 to 31, months 1 to 12, weekdays 0 to 7"


def zone_of(name: str) -> ZoneInfo:
    """Give a time zone of the IANA data base. Raises `InvalidInput`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"there is no time zone `{name[:60]}`", hint="such as `Europe/Berlin` or `UTC`") from None


def cron_times(cron: str, timezone: str, after: float, count: int = 1) -> list[float]:
    """Give the next times (epoch seconds) of five cron fields, after a time. Raises `InvalidInput`, also for never."""
    if len(cron.split()) != 5:
        raise InvalidInput("`cron` has five fields: minute, hour, day of month, month, day of week", hint=_SUCH)
    start = datetime.fromtimestamp(after, zone_of(timezone))
    try:
        found = [one.astimezone(UTC).timestamp() for one in islice(CronSim(cron, start), count)]
    except CronSimError as bad:
        raise InvalidInput(f"`{cron[:100]}` is no cron expression: {bad}", hint=_SUCH) from None
    if not found:
        raise InvalidInput(f"`{cron[:100]}` never comes")
    return found


def moment(text: str, timezone: str) -> float:
    """Give a time written as ISO 8601, in its own offset or else in the time zone, as epoch seconds.

    Raises `InvalidInput`.
    """
    zone = zone_of(timezone)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"`{text[:60]}` is no time", hint="such as `2026-12-24T18:00` or `…+01:00`") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp()
