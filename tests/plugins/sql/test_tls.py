"""TLS to a database server: it proves its name by an authority of the connection's own, or is told nothing."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from superagent.plugins.sql.line import ServerOptions
from tests import mariadb, postgresql
from tests.plugins.sql.databases import OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import PASSWORD, Ground, free_port
from tests.promise import promise
from tests.runtime.net.certificates import Authority

BOTH = "127.0.0.1,127.0.0.2"  # its certificate bears the first name only


class Proven:
    """A server whose certificate one authority signed, and that authority beside another one."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tls-")))
        folder.chmod(0o755)
        authority, stranger = Authority(folder), Authority(folder, "Stranger")
        authority.server("127.0.0.1")
        self.trusted, self.strange = authority.file.read_text(), stranger.file.read_text()
        file = folder / "127.0.0.1.key"
        file.chmod(0o600)
        if not os.geteuid():
            os.chown(file, pwd.getpwnam("postgres" if kind == "postgresql" else "mysql").pw_uid, -1)
        self.port = free_port()
        if kind == "postgresql":
            settings = "ssl=on", f"ssl_cert_file={file}", f"ssl_key_file={file}", f"listen_addresses={BOTH}"
            started = stack.enter_context(postgresql.server(*settings, port=self.port))
            self.db: Any = OnPostgreSQL(started, "proven")
        else:
            settings = f"--ssl-cert={file}", f"--ssl-key={file}", f"--bind-address={BOTH}"
            other = stack.enter_context(mariadb.server(self.port, PASSWORD, *settings))
            self.db = OnMariaDB(other, "proven")

    async def connect(self, here: Ground, host: str = "127.0.0.1", **options: Any) -> None:
        scheme, user = ("postgresql", "postgres") if self.kind == "postgresql" else ("mysql", "app")
        await here.connect(self.kind, f"{scheme}://{host}:{self.port}/proven", secret=PASSWORD, user=user, **options)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def proven(request: pytest.FixtureRequest) -> Generator[Proven]:
    with ExitStack() as stack:
        yield Proven(request.param, stack)


@promise("3.7")
async def test_a_server_proves_its_name_by_the_authority_of_the_connection(
    here: Ground, proven: Proven, tmp_path: Path
) -> None:
    await proven.connect(here, ca=proven.trusted)
    assert (await here.do("connect_test"))["tls"] is True
    for _ in range(2):
        assert (await here.do("query", "SELECT count(*) FROM orders"))["rows"] == [[4]]
    # the programs that dump and restore verify by the same authority
    await here.do("backup", path=str(tmp_path / "orders.backup"))
    assert (tmp_path / "orders.backup").stat().st_size


@promise("3.7")
async def test_a_server_that_does_not_prove_it_is_told_nothing(here: Ground, proven: Proven) -> None:
    for host, options in (
        ("127.0.0.1", {"ca": proven.strange}),
        ("127.0.0.1", {}),  # the authorities of the machine do not know it
        ("127.0.0.2", {"ca": proven.trusted}),  # it bears another name
    ):
        await proven.connect(here, host, **options)
        refused = await here.refused("query", "SELECT count(*) FROM orders")
        assert refused.slug == "unavailable", (host, refused.detail)
    # one who rests was opened with another authority, and is not taken
    await proven.connect(here, ca=proven.trusted)
    await here.do("query", "SELECT count(*) FROM orders")
    await proven.connect(here, ca=proven.strange)
    assert (await here.refused("query", "SELECT count(*) FROM orders")).slug == "unavailable"


async def test_a_server_without_tls_is_told_nothing(here: Ground, on_maria: OnMariaDB, on_pg: OnPostgreSQL) -> None:
    for type, place in (
        ("mariadb", f"mysql://127.0.0.1:{on_maria.server.port}/{on_maria.name}"),
        ("postgresql", f"postgresql://127.0.0.1:{on_pg.server.port}/{on_pg.name}"),
    ):
        await here.connect(type, place, secret=PASSWORD, user="app" if type == "mariadb" else "postgres")
        assert (await here.refused("query", "SELECT count(*) FROM orders")).slug in ("unavailable", "conflict")


def test_what_is_no_certificate_is_no_authority() -> None:
    with pytest.raises(ValueError, match="no certificates"):
        ServerOptions(ca="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    assert ServerOptions().ca == ""
