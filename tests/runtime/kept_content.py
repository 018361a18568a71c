"""A place for kept content in a folder: what the undo store's blobs are to `file_state`, as small as can be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Folder:
    """Content by its SHA-256, one file each."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path

    def put(self, source: int | bytes) -> str:
        """Keep bytes, or what a descriptor gives."""
        if isinstance(source, int):
            with open(source, "rb", closefd=False) as file:
                source = file.read()
        digest = hashlib.sha256(source).hexdigest()
        (self.path / digest).write_bytes(source)
        return digest

    def open(self, digest: str) -> int:
        """Give a descriptor of the content."""
        return os.open(self.path / digest, os.O_RDONLY)
