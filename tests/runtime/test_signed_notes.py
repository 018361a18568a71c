"""A signed note is vouched for by its own key only, and the form is the one that others can read."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from superagent.runtime.signed_notes import Signer, signed_by

SIGNER = Signer("example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NOTE = SIGNER.sign("one\ntwo\n")


def test_a_note_is_vouched_for_by_its_key() -> None:
    assert signed_by(NOTE, [SIGNER.verifier])


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("one", "One"),
        NOTE.replace("two\n", "two\nthree\n"),
        NOTE.replace("example.org/log", "example.org/lag"),
        NOTE[:-10] + "\n",
        NOTE.partition("\n\n")[0],
        NOTE.replace("\u2014 ", "- "),
        "one\ntwo\n\n\u2014 example.org/log !!!\n",
        "one\ntwo\n\n\u2014 example.org/log\n",
        "",
    ],
)
def test_a_note_that_was_changed_is_not_vouched_for(note: str) -> None:
    assert not signed_by(note, [SIGNER.verifier])


def test_a_stranger_with_the_same_name_is_not_believed() -> None:
    stranger = Signer(SIGNER.name, Ed25519PrivateKey.generate())
    assert not signed_by(stranger.sign("one\ntwo\n"), [SIGNER.verifier])


def test_a_second_signature_by_a_stranger_does_not_harm() -> None:
    other = Signer("other", Ed25519PrivateKey.generate()).sign("one\ntwo\n").rpartition("\n\n")[2]
    text, _, own = NOTE.rpartition("\n\n")
    assert signed_by(f"{text}\n\n{other}{own}", [SIGNER.verifier])


@pytest.mark.parametrize(
    "line", ["", "a+b", "a+00000000+!!", SIGNER.verifier.replace("+", "+0", 1), "a+00000000+AQ==", "a+00000000+AgAA"]
)
def test_a_faulty_verifier_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a verifier key"):
        signed_by(NOTE, [line])


def test_the_form_is_that_of_the_specification() -> None:
    """Check by hand what C2SP signed-note says, without the code under test."""
    text, _, line = NOTE.partition("\n\n")
    dash, name, encoded = line.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    public = SIGNER.key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"example.org/log\n\x01" + public).digest()[:4]
    assert (dash, name, raw[:4]) == ("\u2014", "example.org/log", key_id)
    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], (text + "\n").encode())
    encoded_key = base64.b64encode(b"\x01" + public).decode()
    assert SIGNER.verifier == f"example.org/log+{key_id.hex()}+{encoded_key}"
