"""The server speaks TLS itself: real processes with a certificate made here, and a clear word for what does not fit."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from superagent.core.problems import Unavailable
from superagent.runtime.tls import served_with
from tests.promise import promise
from tests.surfaces.cli.command_line import ENTRY, PATIENCE_S, environment, serving

URL = "https://localhost"
DAY = datetime.timedelta(days=1)


@dataclass
class Pair:
    """A certificate for `localhost` that nobody else signed, and its key."""

    cert: Path
    key: Path


def made(folder: Path, passphrase: bytes = b"") -> Pair:
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    sealed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    pair.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    pair.key.write_bytes(plain)
    return pair


def encrypted(data: Path, pair: Pair, *, workers: int = 1, port: int = 0) -> dict[str, str]:
    """Give the settings of a server that speaks TLS."""
    return {
        "SUPERAGENT_SERVER__TLS_CERT": str(pair.cert), "SUPERAGENT_SERVER__TLS_KEY": str(pair.key),
        "SUPERAGENT_SERVER__PUBLIC_URL": URL, "SUPERAGENT_SERVER__WORKERS": str(workers),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
@promise("6.1")
def test_a_server_speaks_tls_1_2_and_newer_and_nothing_else(tmp_path: Path, workers: int) -> None:
    pair = made(tmp_path / "tls")
    with serving(tmp_path / "data", **encrypted(tmp_path / "data", pair, workers=workers)) as server:
        assert server.address.startswith("https://127.0.0.1:")
        host, port = "127.0.0.1", int(server.address.rpartition(":")[2])
        known = ssl.create_default_context(cafile=str(pair.cert))
        whoami = httpx.post(
            f"https://localhost:{port}/v1/operations/access.whoami", json={}, verify=known, timeout=PATIENCE_S,
            headers={"X-API-Key": server.owner_key},
        )  # fmt: skip
        assert whoami.json()["output"]["id"] == "owner"

        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"https://localhost:{port}/healthz", timeout=PATIENCE_S)
        assert spoken(host, port, pair, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert spoken(host, port, pair, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                spoken(host, port, pair, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            httpx.get(f"http://{host}:{port}/healthz", timeout=PATIENCE_S)  # in the clear nothing is answered


@promise("6.1")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_command_line_holds_the_server_of_its_folder_to_that_very_certificate(tmp_path: Path) -> None:
    pair = made(tmp_path / "tls")
    with serving(tmp_path / "data", **encrypted(tmp_path / "data", pair)):
        line = [*ENTRY, "--data", str(tmp_path / "data"), "call", "access.whoami", "--json"]
        told = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert '"owner"' in told.stdout, told.stderr

        other = made(tmp_path / "other")
        (tmp_path / "data" / "state" / "server.pem").write_bytes(other.cert.read_bytes())
        told = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert told.returncode != 0
        assert "unavailable" in told.stdout
        assert '"owner"' not in told.stdout


def spoken(host: str, port: int, pair: Pair, least: ssl.TLSVersion, most: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=str(pair.cert))
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server that refuses what is old
    context.minimum_version, context.maximum_version = least, most
    with (
        socket.create_connection((host, port), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        return wrapped.version()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no key", "`server.tls_key` is missing"),
        ("no certificate", "`server.tls_cert` is missing"),
        ("no name", "the name by which people come in"),
        ("not there", "cannot be read: No such file"),
        ("other key", "is not the one of the certificate"),
        ("broken certificate", "holds no certificate that can be read"),
        ("broken key", "holds no private key that can be read"),
        ("sealed key", "is sealed with a passphrase"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_listens(tmp_path: Path, case: str, said: str) -> None:
    pair = made(tmp_path / "tls", b"secret" if case == "sealed key" else b"")
    cert, key, url = str(pair.cert), str(pair.key), URL
    if case == "no key":
        key = ""
    elif case == "no certificate":
        cert = ""
    elif case == "no name":
        url = ""
    elif case == "not there":
        cert = str(tmp_path / "none.pem")
    elif case == "other key":
        key = str(made(tmp_path / "other").key)
    elif case == "broken certificate":
        pair.cert.write_text("-----BEGIN CERTIFICATE-----\nbm90\n-----END CERTIFICATE-----\n")
    elif case == "broken key":
        pair.key.write_text("nothing")

    with pytest.raises(Unavailable, match=said) as told:
        served_with(cert, key, url)
    assert told.value.hint


def test_a_server_whose_key_does_not_fit_ends_at_once_and_says_so(tmp_path: Path) -> None:
    pair, other = made(tmp_path / "tls"), made(tmp_path / "other")
    named = encrypted(tmp_path / "data", Pair(pair.cert, other.key))
    line = [*ENTRY, "--data", str(tmp_path / "data"), "up", "--port", "0"]
    told = subprocess.run(
        line, env=environment() | named, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert told.returncode != 0
    assert "is not the one of the certificate" in told.stderr + told.stdout
    assert not (tmp_path / "data" / "state" / "server.pem").exists()


def test_without_either_file_nothing_is_encrypted() -> None:
    assert served_with("", "", "") is None
