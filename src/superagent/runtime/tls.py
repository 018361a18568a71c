"""TLS of the server itself: a certificate and its key from files, checked before anything listens."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path

from superagent.core.problems import Unavailable

PINNED = "server.pem"
"""The certificate that is served now, in the state folder: what programs of this machine hold the server to."""

_HINT = (
    "`server.tls_cert` is a PEM file with the certificate, then those above it; `server.tls_key` its key, not sealed"
)


def served_with(cert: str, key: str, public_url: str) -> ssl.SSLContext | None:
    """Give what TLS is spoken with, 1.2 or newer; None when neither file is named. Raises `Unavailable`."""
    if not cert and not key:
        return None
    if not cert or not key:
        raise Unavailable(f"`server.tls_{'key' if cert else 'cert'}` is missing: TLS needs both", hint=_HINT)
    if not public_url.startswith("https://"):
        raise Unavailable(
            "TLS needs the name by which people come in",
            hint="set `server.public_url` to the `https://` address that stands in the certificate",
        )
    for name, file in (("tls_cert", cert), ("tls_key", key)):
        _check_readable(name, Path(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_nobody_is_asked)
    except _Sealed:
        raise Unavailable(f"the key `{key}` is sealed with a passphrase", hint=_HINT) from None
    except ssl.SSLError as bad:
        raise Unavailable(_said(bad, cert, key), hint=_HINT) from None
    return context


def pin(state: Path, cert: Path) -> None:
    """Note which certificate is served now, for programs of this machine."""
    fresh = state / f"{PINNED}.{secrets.token_hex(4)}"
    fresh.write_bytes(cert.read_bytes())
    fresh.replace(state / PINNED)


def trusting(cert: Path) -> ssl.SSLContext:
    """Give what a program of this machine reaches its own server with: exactly this certificate, whatever its name."""
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False  # it is reached by a number, and held to the certificate itself
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Sealed(Exception):
    """A passphrase was wanted."""


def _nobody_is_asked() -> bytes:
    raise _Sealed


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as bad:
        raise Unavailable(f"`server.{name}`: `{path}` cannot be read: {bad.strerror}", hint=_HINT) from None


def _said(bad: ssl.SSLError, cert: str, key: str) -> str:
    if bad.reason == "KEY_VALUES_MISMATCH":
        return f"the key `{key}` is not the one of the certificate `{cert}`"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert)
    except ssl.SSLError:
        return f"`{cert}` holds no certificate that can be read"
    return f"`{key}` holds no private key that can be read"
