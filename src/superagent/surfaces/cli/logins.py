"""Logins: the tokens of who logged in at a server, one file a server that only this user can read.

They lie in the data folder, beside `state` and as protected: no grant of an installation here reaches them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from superagent.core.principal import Secret
from superagent.core.problems import Unauthenticated, Unavailable
from superagent.surfaces.cli.remote import Remote, checked

CLIENT = "superagent-cli"
EARLY_S = 30.0
"""A token that ends sooner than this is renewed before it is used: clocks differ, and calls take time."""


class Login:
    """What is kept of one login."""

    def __init__(self, data: Path, server: str) -> None:
        parts = checked(server)
        self.server = parts._replace(netloc=parts.netloc.lower()).geturl()
        self._folder = data / "logins"
        self._file = self._folder / f"{hashlib.sha256(self.server.encode()).hexdigest()[:32]}.json"

    @property
    def known(self) -> bool:
        """Tell whether somebody logged in there."""
        return self._file.exists()

    def token(self) -> Secret:
        """Give an access token that is good now, renewed where it has to be. Raises `Unauthenticated`."""
        kept = self._read()
        if kept["expires_at"] - EARLY_S > time.time():
            return Secret(kept["access_token"])
        with self._locked():  # a refresh token is good once: of two commands one renews, the other one waits for it
            kept = self._read()
            if kept["expires_at"] - EARLY_S > time.time():
                return Secret(kept["access_token"])
            asked = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": kept["refresh_token"]}
            status, found = Remote(self.server, None).form("/oauth/token", asked)
            if status == 200:
                return Secret(self._write(found)["access_token"])
            if found.get("error") == "invalid_grant":  # it was revoked, is over, or its person may act no more
                self._file.unlink(missing_ok=True)
                raise _over(self.server)
            raise Unavailable(f"{self.server} did not renew the login: {found.get('error') or status}")

    def keep(self, found: dict[str, Any]) -> None:
        """Keep what the token endpoint answered."""
        with self._locked():
            self._write(found)

    def end(self) -> bool:
        """Have the server end the consent, and forget the tokens; False when the server was not to be told."""
        with self._locked():
            kept = self._read()
            told = False
            try:
                shown = {"client_id": CLIENT, "token": kept["refresh_token"]}
                told = Remote(self.server, None).form("/oauth/revoke", shown)[0] == 200
            except Unavailable:
                pass
            finally:
                self._file.unlink(missing_ok=True)
            return told

    def _read(self) -> dict[str, Any]:
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, encoding="utf-8") as file:
                kept: Any = json.load(file)
            for name, kind in (("access_token", str), ("refresh_token", str), ("expires_at", float)):
                if not isinstance(kept[name], kind):
                    raise TypeError(name)
        except FileNotFoundError:
            raise _over(self.server) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise Unauthenticated(
                f"what is kept of the login at {self.server} cannot be read",
                hint=f"remove `{self._file}`, then `superagent login --server {self.server}`",
            ) from None
        return cast("dict[str, Any]", kept)

    def _write(self, found: dict[str, Any]) -> dict[str, Any]:
        """Put tokens in place of those before, all of them or none."""
        texts = (found.get("access_token"), found.get("refresh_token"))
        lasts = found.get("expires_in")
        if not all(isinstance(one, str) and one.isascii() and one.isprintable() for one in texts):
            raise Unavailable(f"{self.server} sent no tokens")
        expires_at = time.time() + (float(lasts) if isinstance(lasts, int) else 60.0)
        kept = {
            "server": self.server, "access_token": texts[0], "refresh_token": texts[1], "expires_at": expires_at,
        }  # fmt: skip
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._file)
        return kept

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            os.chmod(self._folder, 0o700)
            descriptor = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as bad:
            raise Unavailable(f"logins cannot be kept in `{self._folder}`: {bad.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _over(server: str) -> Unauthenticated:
    return Unauthenticated(
        f"nobody is logged in at {server} any more", hint=f"log in again by `superagent login --server {server}`"
    )
