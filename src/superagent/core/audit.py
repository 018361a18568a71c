"""Audit records: what one holds, how it becomes a line, and the hash that ties each line to the one before.

The format is written down in docs/audit-format.md so that a verifier can be made from it without this code.
"""

from __future__ import annotations

import hashlib
from binascii import hexlify
from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec

from superagent.core.redaction import redact

FORMAT = 1
ZERO = bytes(hashlib.sha256().digest_size)
"""The head of a chain before its first line."""

MAX_LINE = 64 * 1024
"""The longest a record may be, in bytes of JSON; what does not fit is left out and counted."""

Kind = Literal["intent", "outcome", "refused", "approved", "undo", "event"]

_TAIL = 66  # a tab, 64 hex digits and the line feed
_sha256 = hashlib.sha256()  # copied for each line: cheaper than looking the algorithm up again


class AuditRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One thing that was about to happen, happened or was refused. Empty fields are not written.

    `at` is epoch seconds UTC. `chain_of` lists the principals from the acting one to the one it acts for in the end.
    `resources` are pairs of canonical id and effect. `version` is the operation's. `count` > 1 stands for that many
    like refusals. `key` is the id of the key, session or consent by which it was called. `personal` (remote address,
    client, reason) is sealed under a key of the person's own.
    """

    kind: Kind
    at: float
    invocation: str = ""
    parent: str = ""
    tenant: str = ""
    who: str = ""
    chain_of: tuple[str, ...] = ()
    channel: str = ""
    operation: str = ""
    version: int = 0
    resources: tuple[tuple[str, str], ...] = ()
    input_digest: str = ""
    output_digest: str = ""
    decision: str = ""
    grants: tuple[str, ...] = ()
    decision_digest: str = ""
    policy_version: int = 0
    isolation: str = ""
    status: str = ""
    problem: str = ""
    changed: str = ""
    seconds: float = 0.0
    bytes: int = 0
    session: str = ""
    trace: str = ""
    personal: str = ""
    count: int = 1
    detail: dict[str, Any] = {}
    key: str = ""


class SegmentHeader(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The first line of a segment file: which chain it continues, and `after` what trouble, if any.

    `prev` is the head of the chain before this line, in hex; `epoch` tells the runs of one worker apart.
    """

    kind: Literal["segment"]
    format: int
    chain: str
    node: str
    worker: str
    epoch: str
    at: float
    prev: str
    after: str = ""


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """What every line has: its number in the chain, from 1, and its kind."""

    seq: int
    kind: str


encode_any = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(AuditRecord).decode
decode_header = msgspec.json.Decoder(SegmentHeader).decode
decode_numbered = msgspec.json.Decoder(Numbered).decode

UNREADABLE = (ValueError, RecursionError)
"""What decoding raises for a line that somebody changed: not JSON, not UTF-8, or nested without end."""


def clean(record: AuditRecord) -> AuditRecord:
    """Take secrets out of a record's detail."""
    return msgspec.structs.replace(record, detail=redact(record.detail)) if record.detail else record


def encode(record: AuditRecord) -> bytes:
    """Give a record as canonical JSON: fields in declared order, no spaces, UTF-8, empty fields left out.

    Never fails for what the record's texts hold: lone surrogates (file names that are not UTF-8) become `\\udcNN`.
    A record over `MAX_LINE` loses its detail and then all but 100 of its resources; the detail then says so, with the
    count and SHA-256 of the whole list.
    """
    try:
        text = encode_any(record)
    except UnicodeEncodeError:
        plain: Any = _printable(msgspec.to_builtins(record))
        record = msgspec.convert(plain, AuditRecord)
        text = encode_any(record)
    return text if len(text) <= MAX_LINE else encode_any(_fit(record, len(text)))


def hash_of(head: bytes, text: bytes) -> bytes:
    """Give the SHA-256 of a line: over the hash of the line before, then its JSON text."""
    state = _sha256.copy()
    state.update(head)
    state.update(text)
    return state.digest()


def parse(line: bytes) -> tuple[bytes, bytes] | None:
    """Split a line into its JSON text and its hash; None when it does not have the shape of a line."""
    if len(line) <= _TAIL or line[-_TAIL] != 0x09 or line[-1] != 0x0A:
        return None
    try:
        return line[:-_TAIL], bytes.fromhex(line[-_TAIL + 1 : -1].decode("ascii"))
    except ValueError:
        return None


class Chain:
    """Number the lines of one chain and tie each to the one before."""

    __slots__ = ("head", "seq")

    def __init__(self, seq: int = 0, head: bytes = ZERO) -> None:
        self.seq = seq
        self.head = head

    def append(self, body: bytes) -> bytes:
        """Give the next line: the body (a JSON object with at least one field) with its number, a tab and its hash."""
        return b"".join(self.lines((body,), 1)[0])

    def lines(self, bodies: Iterable[bytes], room: int) -> tuple[list[bytes], int]:
        """Give the next lines in pieces that are to be joined, and how many: as many as begin within so many bytes.

        Pieces, because a text of this length costs as much to copy as to hash.
        """
        fresh, seq, head, pieces = _sha256.copy, self.seq, self.head, list[bytes]()
        for body in bodies:
            if room <= 0:
                break
            seq += 1
            begin, rest = b'{"seq":%d,' % seq, body[1:]
            state = fresh()
            state.update(head + begin)
            state.update(rest)
            head = state.digest()
            pieces += (begin, rest, b"\t", hexlify(head), b"\n")
            room -= len(begin) + len(rest) + _TAIL
        count, self.seq, self.head = seq - self.seq, seq, head
        return pieces, count


def _fit(record: AuditRecord, size: int) -> AuditRecord:
    kept = record.resources[:100]
    detail: dict[str, Any] = {"omitted_bytes": size}
    if len(kept) < len(record.resources) or len(encode_any(kept)) > MAX_LINE // 2:
        detail["resources"] = len(record.resources)
        detail["resources_sha256"] = hashlib.sha256(encode_any(record.resources)).hexdigest()
        kept = tuple((name[:256], effect) for name, effect in kept)
    return msgspec.structs.replace(record, resources=kept, detail=detail, personal="")


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(one) for key, one in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_printable(one) for one in cast("list[Any]", value)]
    return value
