"""Opening: the third-party plugins of an installation, put together from its settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from superagent.core.audit import AuditRecord
from superagent.core.ports import Clock
from superagent.runtime.hosted.hosting import Hosting
from superagent.runtime.hosted.loading import Loading, allowed
from superagent.runtime.hosted.quarters import Quarters
from superagent.runtime.places import Places
from superagent.runtime.sandboxes import Sandboxes
from superagent.settings import Plugins

FOLDER = "plugins"
"""Where in the data folder plugins lie."""


@asynccontextmanager
async def open_plugins(
    chosen: Plugins,
    sandbox: Sandboxes,
    places: Places,
    clock: Clock,
    note: Callable[[AuditRecord], None],
    upcoming: Callable[[], Plugins],
) -> AsyncGenerator[Loading]:
    """Give what loads plugins; at the end no process of theirs is left. Raises `InvalidInput` for a wrong setting.

    `upcoming` gives what the settings say for the next start.
    """
    hosted = allowed(chosen.hosted)
    roots, least = places.state / "sandbox" / "hosted", sandbox.levels.minimum
    quarters = Quarters(sandbox.launcher, roots, sandbox.probe_user, least, clock.monotonic)
    hosting = Hosting(quarters, sandbox.owners.of, note, clock.now, clock.monotonic)
    folders = [places.data / FOLDER, *map(Path, chosen.folders)]
    try:
        memory, trusted = places.state / "plugins", frozenset(chosen.trusted)
        yield Loading(hosting, memory, folders, hosted, trusted, sandbox.probe_user, upcoming)
    finally:
        await hosting.close()
