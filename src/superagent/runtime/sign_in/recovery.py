"""Recovery of a lost factor: whoever can write the state folder proves to be the OS user that owns it (rules.md 33)."""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from superagent.core.problems import Unavailable
from superagent.runtime.sign_in.pending import Step
from superagent.runtime.sign_in.sessions import digest

TTL_S = 900.0
NAME = "recover.json"


def offer(state: Path, tenant: str, person: str, now: float) -> str:
    """Lay down that a person may come in by a one-use link, and give the link's token. Raises `Unavailable`."""
    found = os.lstat(state) if state.exists() else None
    if found is None or not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Unavailable("the state folder is not this user's", hint="run it as the user that owns the data folder")
    token = secrets.token_urlsafe(32)
    document = {"digest": digest(token), "tenant": tenant, "person": person, "until": now + TTL_S}
    fresh = state / f"{NAME}.{secrets.token_hex(4)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file)
    fresh.replace(state / NAME)
    return token


def take(state: Path, token: str, now: float) -> Step | None:
    """Take the offer that a token belongs to, once; None when there is none, or it is over."""
    path = state / NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
            return None
        try:
            said: dict[str, Any] = json.loads(file.read(4096))
            fits = secrets.compare_digest(str(said["digest"]), digest(token))
            step = Step(str(said["tenant"]), str(said["person"]), {"way": "recover"})
            until = float(said["until"])
        except (ValueError, KeyError, TypeError):
            return None
    if not fits:
        return None
    try:
        path.unlink()  # whoever removes it has taken it
    except FileNotFoundError:
        return None
    return step if now < until else None
