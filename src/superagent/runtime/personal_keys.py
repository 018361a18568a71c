"""Personal keys: one key for each person's detail, so that forgetting a person is destroying a key."""

from __future__ import annotations

import base64
import fcntl
import hmac
import mmap
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from superagent.runtime.key_files import create_or_read, private_folder, sync_folder, unwrap

_NAME, _GENERATION, _NONCE = 16, 8, 12
_CACHE = 4096


class PersonalKeys:
    """Seal detail about people, each under a key of their own.

    A sealed text names its key by a keyed digest of tenant and subject, so it tells nobody whom it is about. Subjects
    should be principals: each leaves one small file, so never take a name that a stranger may choose.
    What erasure cannot reach: backups made before, and what a disk keeps of overwritten blocks.
    """

    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory = private_folder(directory)
        self._index = hmac.digest(key, b"index", "sha256")
        self._wrap = AESGCM(hmac.digest(key, b"wrap", "sha256"))
        create_or_read(directory / "erasures", lambda: bytes(8))
        descriptor = os.open(directory / "erasures", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        # a counter that all processes share: one erasure makes every cache forget, without a look at the disk
        self._erasures = mmap.mmap(descriptor, 8)
        os.close(descriptor)
        self._seen = self._erasures[:]
        self._subjects = lru_cache(_CACHE)(self._subject)
        self._sealed = lru_cache(_CACHE)(self._seal)

    def seal(self, tenant: str, subject: str, plaintext: str) -> str:
        """Seal a text about a subject; the same text gives the same sealed text for a while, which is cheap."""
        now = self._erasures[:]
        if now != self._seen:
            self._subjects.cache_clear()
            self._sealed.cache_clear()
            self._seen = now
        return self._sealed(tenant, subject, plaintext)

    def open(self, sealed: str) -> str | None:
        """Open a sealed text; None when its key was erased, or when it is not a sealed text of ours."""
        try:
            raw = base64.urlsafe_b64decode(sealed)
            head, rest = raw[: _NAME + _GENERATION], raw[_NAME + _GENERATION :]
            cipher = self._cipher(head[:_NAME], head[_NAME:])
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], head).decode()
        except (ValueError, InvalidTag, FileNotFoundError):
            return None

    def erase(self, tenant: str, subject: str) -> bool:
        """Destroy a subject's key for good, in every process; gives False when there was none."""
        path = self._path(self._name(tenant, subject))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        with open(descriptor, "wb") as file:
            file.write(bytes(os.fstat(descriptor).st_size))
            file.flush()
            os.fsync(descriptor)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        with open(self._directory / "erasures", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._erasures[:] = ((int.from_bytes(self._erasures[:], "big") + 1) % 2**64).to_bytes(8, "big")
        return True

    def _seal(self, tenant: str, subject: str, plaintext: str) -> str:
        head, cipher = self._subjects(self._name(tenant, subject))
        nonce = os.urandom(_NONCE)
        body = cipher.encrypt(nonce, plaintext.encode("utf-8", "backslashreplace"), head)
        return base64.urlsafe_b64encode(head + nonce + body).decode()

    def _subject(self, name: bytes) -> tuple[bytes, AESGCM]:
        path = self._path(name)
        if not path.parent.exists():
            private_folder(path.parent)
            sync_folder(self._directory)
        record = create_or_read(path, lambda: self._fresh(name))
        if not any(record):  # an erasure was cut short after the key was overwritten: it is gone all the same
            path.unlink(missing_ok=True)
            return self._subject(name)
        return name + record[:_GENERATION], self._unwrap(name, record)

    def _cipher(self, name: bytes, generation: bytes) -> AESGCM:
        record = create_or_read(self._path(name), None)  # never from a cache: what was erased must not open
        if record[:_GENERATION] != generation:
            raise FileNotFoundError("this text was sealed before the subject was erased")
        return self._unwrap(name, record)

    def _fresh(self, name: bytes) -> bytes:
        generation, nonce = secrets.token_bytes(_GENERATION), os.urandom(_NONCE)
        return generation + nonce + self._wrap.encrypt(nonce, secrets.token_bytes(32), name + generation)

    def _unwrap(self, name: bytes, record: bytes) -> AESGCM:
        generation, rest = record[:_GENERATION], record[_GENERATION:]
        return AESGCM(unwrap(self._wrap, rest, name + generation))

    def _name(self, tenant: str, subject: str) -> bytes:
        both = f"{len(tenant)}:{tenant}{subject}".encode("utf-8", "backslashreplace")
        return hmac.digest(self._index, both, "sha256")[:_NAME]

    def _path(self, name: bytes) -> Path:
        return self._directory / name.hex()[:2] / f"{name.hex()}.key"
