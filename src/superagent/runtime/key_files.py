"""Key files: made once and whole whoever starts at the same time, and read only if nobody else could have."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from superagent.core.problems import Unavailable


def private_folder(directory: Path) -> Path:
    """Make a folder that only this user can enter, or check that it is one. Raises `Unavailable` when it is not."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _own(os.lstat(directory), directory, stat.S_ISDIR)
    return directory


def create_or_read(path: Path, make: Callable[[], bytes] | None) -> bytes:
    """Read a key file, or make it with these bytes when it is not there; durable before it is used.

    Raises `FileNotFoundError` when it is not there and `make` is None, `Unavailable` when others could read it.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        if make is None:
            raise
    spare = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_new(spare, make())
    try:
        os.link(spare, path)  # unlike a rename this never replaces what another process made first
    except FileExistsError:
        pass
    finally:
        os.unlink(spare)
    sync_folder(path.parent)
    return _read(path)


def write_new(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that must not exist yet, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sync_folder(directory: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwrap(cipher: AESGCM, wrapped: bytes, about: bytes) -> bytes:
    """Open a wrapped key: a nonce of 12 bytes, then the sealed key. Raises `Unavailable` for another master key."""
    try:
        return cipher.decrypt(wrapped[:12], wrapped[12:], about)
    except (InvalidTag, ValueError):
        raise Unavailable(
            "the master key does not open the other keys",
            hint="put back the key folder as it was, all of it, from one backup",
        ) from None


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link, or not ours to read
        raise Unavailable(f"the key file `{path.name}` cannot be read: {error.strerror}") from error
    try:
        _own(os.fstat(descriptor), path, stat.S_ISREG)
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _own(found: os.stat_result, path: Path, right_kind: Callable[[int], bool]) -> None:
    if not right_kind(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Unavailable(
            f"`{path.name}` among the keys is open to others, or is not what it should be",
            hint="find out who could read it; then give it back to this user with `chmod go=`",
        )
