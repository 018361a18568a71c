"""Attenuated keys: made by whoever holds a key, without us, and checked at the door (rules.md 31)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from superagent.core.attenuation import (
    LONGEST_LIFE_S,
    MOST_BLOCKS,
    Caveat,
    Shown,
    caveat_of,
)
from superagent.core.bounds import Bounds
from superagent.core.principal import Facts, Principal
from superagent.core.problems import Unauthenticated
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.holders import MOST_HOPS, Holder, within
from superagent.runtime.identity_tables import ENDED

UNKNOWN = "this key is not known, or no longer valid"
_SHOWN = 32  # hex characters of a revocation id, enough to name one token


def lent(
    shown: Shown, holder: Holder, ended: frozenset[str], facts: Facts, workspaces: Path, now: float
) -> tuple[Principal, float]:
    """Give who shows a key that was made of a holder's, and until when it is good. Raises `Unauthenticated`.

    The principal's `key` says all by which the key can be found dead later: what it was made of, its blocks, its end.
    """
    if shown.public.hex() != holder.key.public:
        raise Unauthenticated(UNKNOWN)
    caveats, ids = _verified(shown)
    # its signatures hold: whoever shows it was given it
    require_good(holder, facts, now)
    until = min(holder.until(now), *(one.expires_at for one in caveats))
    if not ended.isdisjoint(ids):
        raise Unauthenticated("this key was revoked", hint="ask whoever lent it for a new one")
    if now >= until:
        raise Unauthenticated("this key has expired", hint="ask whoever lent it for a new one")
    principal = holder.principal(facts, workspaces)
    for one in caveats:
        if one.expires_at > now + LONGEST_LIFE_S or not within(facts.remote, one.cidr):
            raise Unauthenticated(UNKNOWN)
        principal = principal.within(Bounds(one.grants), one.name)
    if len(principal.ids) > MOST_HOPS:
        raise Unauthenticated(UNKNOWN)
    return principal.by_key(".".join([shown.key, *ids, str(int(until))])), until


def require_good(holder: Holder, facts: Facts, now: float) -> None:
    """Go on only with a key that is good, here and now. Raises `Unauthenticated` with why: the key itself was shown."""
    ended = holder.ended(now)
    if ended is not None:
        raise Unauthenticated(ended[0], hint=ended[1])
    if not holder.welcomes(facts.remote):
        raise Unauthenticated("this key is not good from this address", hint="ask its owner where it is")


def still_good(tx: InstanceTransaction, parts: list[str]) -> float:
    """Give until when a key is good by what its `key` says, its own origin apart; 0.0 for one that was ended."""
    ended = ended_of(tx, parts[0])
    return 0.0 if ended.intersection(parts[1:-1]) else float(parts[-1])


def ended_of(tx: InstanceTransaction, key: str) -> frozenset[str]:
    """Give what was ended of the tokens made of a key."""
    return frozenset(row.id for row in tx.select(ENDED, ENDED.c.key == key, columns=[ENDED.c.id]))


def _verified(shown: Shown) -> tuple[list[Caveat], list[str]]:
    """Check every signature of a chain, and give its caveats and what names its blocks. Raises `Unauthenticated`."""
    import biscuit_auth  # here: a cold start has no time for it

    biscuits: Any = biscuit_auth

    try:
        root = biscuits.PublicKey.from_bytes(shown.public, biscuits.Algorithm.Ed25519)
        token = biscuits.Biscuit.from_base64(shown.chain, root)
        count = token.block_count()
        if count > MOST_BLOCKS or any(token.block_external_key(at) is not None for at in range(count)):
            raise Unauthenticated(UNKNOWN)
        caveats = [caveat_of(token.block_source(at) or "") for at in range(count)]
        return caveats, [one[:_SHOWN] for one in token.revocation_ids]
    except Unauthenticated:
        raise
    except Exception as bad:  # the library raises its own kinds for each way in which a chain can be wrong
        raise Unauthenticated(UNKNOWN) from bad
