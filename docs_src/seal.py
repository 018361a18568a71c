"""Seal: sign a text with a secret that the caller names and never sees."""

import hmac

from superagent.sdk import Context, Effect, Output, Plugin, Risk, SecretName

seal = Plugin("seal", reaches=("secret",))


class Signed(Output):
    signature: str


@seal.operation(risk=Risk.LOW, effect=Effect.READ)
async def sign(ctx: Context, text: str, secret: SecretName) -> Signed:
    """Sign a text with a secret (HMAC-SHA-256)."""
    key = await ctx.secret.resolve(f"secret:{secret}", job="signing")
    return Signed(signature=hmac.digest(key.reveal().encode(), text.encode(), "sha256").hex())
