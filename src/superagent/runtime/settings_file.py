"""The settings file: listed with origins, and changed by whole atomic writes that keep people's comments."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from superagent.core.problems import Denied, InvalidInput, Locked, NotFound
from superagent.settings import FILE_ONLY, Loaded, Settings, load, names

WAIT_S = 10.0
_STEP_S = 0.01
_Keep = Callable[[Any], Awaitable[None]]


class SettingsFile:
    """The settings of one installation.

    `thread` runs what blocks, and waits for its end also when cancelled. Whose turn it is to write says a lock on the
    folder `turns` (by default the file's own): one that only this user can open, so that nobody else can hold it.
    """

    def __init__(
        self,
        loaded: Loaded,
        thread: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        turns: Path | None = None,
    ) -> None:
        self._loaded = loaded
        self._thread = thread
        self._turns = turns or loaded.file.parent

    def listed(self) -> list[tuple[str, Any, str, Any]]:
        """Give (name, value, origin, value from the next start on) of every setting; a database password is not shown.

        The last is None where the file says nothing else by now.
        """
        values, origins = self._loaded.settings.model_dump(mode="json"), self._loaded.origins
        upcoming = self.upcoming().model_dump(mode="json")
        found: list[tuple[str, Any, str, Any]] = []
        for name in names():
            section, _, field = name.partition(".")
            shown = _without_password if name.endswith(".url") else _as_it_is
            value, other = values[section][field], upcoming[section][field]
            stays = value == other or origins[name] in ("environment", "flag")  # which stand above the file
            found.append((name, shown(value), origins[name], None if stays else shown(other)))
        return found

    def upcoming(self) -> Settings:
        """Give what the file alone says by now; where it cannot be read, what counts now."""
        try:
            return load(self._loaded.data, environ={}).settings
        except InvalidInput:  # the next start says what is wrong
            return self._loaded.settings

    def current(self, name: str) -> Any:
        """Give what the settings file says, None for nothing. Raises `NotFound`."""
        section, field = _known(name)
        return self._read().unwrap().get(section, {}).get(field)

    async def write(self, name: str, value: Any, keep: _Keep | None = None) -> None:
        """Write one setting to the file, None takes it out; `keep` is given before that what it replaces.

        What would not be valid is refused before anything is kept.

        From reading to writing nobody else writes, here or in another process. Raises `NotFound`, `InvalidInput` if the
        whole would not be valid, `Locked` when the file did not come free in 10 s.
        """
        async with self._turn():
            await self.check(name, value)
            if keep is not None:
                await keep(self.current(name))
            await self._thread(self._write, name, value)

    async def check(self, name: str, value: Any) -> None:
        """Refuse what `write` would refuse, and change nothing."""
        if name in FILE_ONLY:
            raise Denied(f"`{name}` cannot be set by a call", hint=f"edit `{self._loaded.file.name}` by hand")
        await self._thread(partial(self._write, only_check=True), name, value)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        # not the file: each write puts another one in the place of the one that was read
        folder = os.open(self._turns, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        until = time.monotonic() + WAIT_S
        try:
            while not _locked(folder):
                if time.monotonic() > until:
                    raise Locked(f"`{self._loaded.file.name}` is being changed by others", hint="try again later")
                await asyncio.sleep(_STEP_S)
            yield
        finally:
            os.close(folder)

    def _write(self, name: str, value: Any, *, only_check: bool = False) -> None:
        import tomlkit.exceptions  # slow to load, and settings are rarely written

        section, field = _known(name)
        document = self._read()
        if section not in document:
            document[section] = tomlkit.table()
        table: Any = document[section]
        if value is None:
            table.pop(field, None)
        else:
            try:
                table[field] = value
            except (TypeError, ValueError, tomlkit.exceptions.TOMLKitError):
                raise InvalidInput(f"`{name}` cannot be written as TOML") from None
        path = self._loaded.file
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(tomlkit.dumps(document))
                file.flush()
                os.fsync(file.fileno())
            load(self._loaded.data, environ={}, file=fresh)  # refuses before anything is replaced
            if not only_check:
                os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)

    def _read(self) -> Any:
        import tomlkit.exceptions

        try:
            return tomlkit.parse(self._loaded.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return tomlkit.document()
        except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as bad:
            raise InvalidInput(f"`{self._loaded.file.name}` cannot be read: {bad}", hint="correct it by hand") from None


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _known(name: str) -> tuple[str, str]:
    if name not in names():
        raise NotFound(f"there is no setting `{name[:100]}`", hint="`settings.list` shows every setting")
    section, _, field = name.partition(".")
    return section, field


def _as_it_is(value: Any) -> Any:
    return value


def _without_password(url: str) -> str:
    head, at, host = url.rpartition("@")
    scheme, colon, user = head.partition("://")
    return f"{scheme}{colon}{user.partition(':')[0]}:…{at}{host}" if at and ":" in user else url
