"""Trust: which authorities the platform believes when it speaks TLS to the outside."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

from superagent.core.problems import Unavailable


def system_bundle() -> Path:
    """Give the file of the authorities that this machine trusts; Mozilla's, as a package, where it has none."""
    built_in = Path(ssl.get_default_verify_paths().openssl_cafile)  # not `cafile`: that one believes the environment
    known = (built_in, Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
    return next((path for path in known if path.is_file() and path.stat().st_size), Path(certifi.where()))


def outgoing(ca_file: str = "") -> ssl.SSLContext:
    """Give what outgoing connections are verified by: names and chains, always; `ca_file` adds authorities.

    Raises `Unavailable` when that file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and name; reads no environment
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(system_bundle())
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as bad:
            raise Unavailable(
                f"`net.ca_file`: `{ca_file}` holds no certificates that can be read ({bad.strerror or bad})",
                hint="it must be a PEM file",
            ) from None
    return context
