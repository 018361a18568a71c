"""Attenuating: make a weaker, shorter-lived key of a key, without a server and without a data folder."""

from __future__ import annotations

from typing import Any

from superagent.core.attenuation import LONGEST, MOST_BLOCKS, Caveat, fact_of, put_together, take_apart
from superagent.core.problems import InvalidInput
from superagent.runtime.api_keys import private_half, public_half, well_formed


def attenuate(token: str, caveat: Caveat) -> str:
    """Make a weaker key of a key, here and now. Raises `InvalidInput` for what is no key, or too deep already."""
    import biscuit_auth  # here: a cold start has no time for it

    biscuits: Any = biscuit_auth
    ed25519 = biscuits.Algorithm.Ed25519
    if well_formed(token):
        private = biscuits.PrivateKey.from_bytes(private_half(token), ed25519)
        chain = biscuits.BiscuitBuilder(fact_of(caveat)).build(private)
        return _checked(put_together(bytes.fromhex(public_half(token).public), chain.to_base64()))
    shown = take_apart(token)
    if shown is None:
        raise InvalidInput("this is not a key", hint="a key begins with `sak_` or `sab_`")
    try:
        chain = biscuits.Biscuit.from_base64(shown.chain, biscuits.PublicKey.from_bytes(shown.public, ed25519))
    except (biscuits.BiscuitValidationError, ValueError):
        raise InvalidInput("this key was changed on its way", hint="copy it whole") from None
    if chain.block_count() >= MOST_BLOCKS:
        raise InvalidInput(f"a key is lent on at most {MOST_BLOCKS} times", hint="lend the key that this one came from")
    return _checked(put_together(shown.public, chain.append(biscuits.BlockBuilder(fact_of(caveat))).to_base64()))


def _checked(token: str) -> str:
    if len(token) > LONGEST:
        raise InvalidInput(f"the key would have more than {LONGEST} characters", hint="lend it with fewer grants")
    return token
