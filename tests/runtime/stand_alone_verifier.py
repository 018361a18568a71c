"""A verifier written from docs/audit-format.md alone: it shares no code with the platform, and says good or not."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def good(folder: Path, verifiers: tuple[str, ...], anchor: str | None = None) -> bool:
    """Tell whether nothing was tampered with."""
    try:
        check(folder, verifiers, anchor)
    except (AssertionError, ValueError, KeyError, IndexError, InvalidSignature, RecursionError):
        return False
    return True


def check(folder: Path, verifiers: tuple[str, ...], anchor: str | None) -> None:
    """Raise for the first thing that is wrong."""
    keys: dict[tuple[str, bytes], Ed25519PublicKey] = {}
    for line in verifiers:
        name, key_id, encoded = line.split("+", 2)
        keys[name, bytes.fromhex(key_id)] = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])

    newest: dict[str, tuple[int, str]] = {}
    claims: dict[str, dict[int, str]] = {}
    number, prev, anchored = 0, bytes(32), anchor is None
    for file in sorted((folder / "checkpoints").glob("*.notes")):
        parts = file.read_bytes().decode().split("\n\n")
        assert file.name == f"{number + 1:012d}.notes"
        for index in range(0, len(parts) - 2, 2):
            text, signatures = parts[index] + "\n", parts[index + 1]
            note = f"{text}\n{signatures}\n"
            dash, origin, encoded = signatures.split("\n")[0].split(" ")
            signature = base64.b64decode(encoded, validate=True)
            assert dash == "\u2014"
            keys[origin, signature[:4]].verify(signature[4:], text.encode())
            named, total, root, *rest = text.rstrip("\n").split("\n")
            said = dict(line.split(" ", 1) for line in rest[:3])
            number += 1
            assert (named, int(said["number"]), base64.b64decode(said["prev"])) == (origin, number, prev)
            for line in rest[3:]:
                word, chain, size, digest, _ = line.split(" ")
                assert word == "chain"
                assert int(size) >= newest.get(chain, (0, ""))[0]
                newest[chain] = (int(size), digest)
                claims.setdefault(chain, {})[int(size)] = digest
            leaves = [f"{chain} {size} {digest}".encode() for chain, (size, digest) in sorted(newest.items())]
            assert base64.b64decode(root) == tree(leaves)
            assert int(total) == sum(size for size, _ in newest.values())
            prev = hashlib.sha256(note.encode()).digest()
            anchored = anchored or note == anchor
    assert anchored

    for chain in newest:
        assert (folder / chain).is_dir()
    for place in folder.iterdir():
        if place.is_dir() and place.name != "checkpoints":
            size = check_chain(place, claims.get(place.name, {}))
            assert size >= newest.get(place.name, (0, ""))[0]
            assert size == newest.get(place.name, (0, ""))[0] or (place / "lock").exists()


def check_chain(place: Path, claims: dict[int, str]) -> int:
    """Follow one finished chain and give the number of its last line."""
    seq, head = 0, bytes(32)
    for file in sorted(place.glob("*.seg")):
        for index, line in enumerate(file.read_bytes().split(b"\n")[:-1]):
            text, digest = line.split(b"\t")
            assert hashlib.sha256(head + text).hexdigest().encode() == digest
            said: dict[str, Any] = json.loads(text)
            assert said["seq"] == seq + 1
            if index == 0:
                assert (said["kind"], said["chain"], said["prev"]) == ("segment", place.name, head.hex())
                assert file.name == f"{seq + 1:020d}.seg"
            seq, head = seq + 1, bytes.fromhex(digest.decode())
            assert claims.get(seq, base64.b64encode(head).decode()) == base64.b64encode(head).decode()
        assert file.read_bytes().endswith(b"\n")
    return seq


def tree(leaves: list[bytes]) -> bytes:
    """Give the Merkle tree hash of RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()
