"""The rows of the audit index: take in what was read, and say how far that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import Row

from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.audit_block import Block, Seen, joined, merged
from superagent.runtime.audit_tables import BLOCKS, CHAINS, STRAYS
from superagent.runtime.audit_tail import Fresh, Piece, Position

STANDS = [
    BLOCKS.c[name]
    for name in ("number", "chain", "segment", "place", "length", "lines", "records", "oldest", "newest")
]  # fmt: skip
"""The columns that make a `Block`."""


def block_of(row: Row[Any]) -> Block:
    """Make a block of a row with the columns of `STANDS`."""
    return Block(*row)


def positions(tx: InstanceTransaction) -> dict[str, Position]:
    """Give how far each chain was read."""
    rows = cast("Sequence[tuple[str, int, int, int, int, int, int]]", tx.select(CHAINS))
    return {
        chain: Position(segment, place, bool(ended), reached, begin, lines)
        for chain, segment, place, ended, reached, begin, lines in rows
    }


def keep(tx: InstanceTransaction, fresh: Fresh) -> None:
    """Write down what was read, all or nothing."""
    blocks: list[dict[str, Any]] = []
    strays: list[dict[str, Any]] = []
    for piece in fresh.pieces:
        number = piece.block.number
        for tenant, seen in piece.seen.items():
            if not (piece.grown and _grow(tx, tenant, number, seen)):
                blocks.append(_row(tenant, piece, seen))
            strays += [{"tenant": tenant, "invocation": one, "number": number} for one in seen.strays]
    tx.insert_many(BLOCKS, blocks)
    tx.insert_many(STRAYS, strays)
    for chain, at in fresh.positions.items():
        values = asdict(at) | {"ended": int(at.ended)}
        if not tx.update(CHAINS, CHAINS.c.chain == chain, **values):
            tx.insert(CHAINS, chain=chain, **values)


def blocks_after(tx: Transaction, number: int, most: int) -> list[Block]:
    """Give up to so many blocks that hold a tenant's records behind a number, in their order."""
    at = BLOCKS.c.number
    within = tx.first(BLOCKS, at <= number, columns=[at], order=[at.desc()])
    since = within[0] if within else 0
    where = at >= since, at + BLOCKS.c.lines > number + 1
    return [block_of(row) for row in tx.select(BLOCKS, *where, columns=STANDS, order=[at], limit=most)]


def forget(tx: InstanceTransaction) -> None:
    """Forget everything; the segments hold it all."""
    for table in (BLOCKS, STRAYS, CHAINS):
        tx.delete(table)


def _row(tenant: str, piece: Piece, seen: Seen) -> dict[str, Any]:
    at = piece.block
    return {
        "tenant": tenant,
        "number": at.number,
        "chain": at.chain,
        "segment": at.segment,
        "place": at.place,
        "length": seen.length,
        "lines": seen.lines,
        "records": seen.records,
        "oldest": seen.oldest,
        "newest": seen.newest,
        "actors": joined(seen.actors),
        "operations": joined(seen.operations),
        "resources": joined(seen.resources),
    }


def _grow(tx: InstanceTransaction, tenant: str, number: int, seen: Seen) -> bool:
    """Add to a tenant's row of a block; False when it has none yet."""
    this = (BLOCKS.c.tenant == tenant, BLOCKS.c.number == number)
    row = tx.first(BLOCKS, *this)
    if row is None:
        return False
    tx.update(
        BLOCKS,
        *this,
        length=seen.length,
        lines=seen.lines,
        records=row.records + seen.records,
        oldest=min(row.oldest, seen.oldest),
        newest=max(row.newest, seen.newest),
        actors=merged(row.actors, joined(seen.actors)),
        operations=merged(row.operations, joined(seen.operations)),
        resources=merged(row.resources, joined(seen.resources)),
    )
    return True
