"""Who answers at the other end of a session."""

from __future__ import annotations

from .session import Session


def answered(session: Session) -> tuple[str, str | None, bool | None]:
    """Give the server's version as it says it, the account of the session, and whether TLS protects it."""
    if session.dialect == "postgres":
        version, account = session.run("SELECT current_setting('server_version'), current_user")[1][0]
        rows = session.run("SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()")[1]
        return str(version), str(account), bool(rows and rows[0][0])
    if session.dialect == "mysql":
        version, account = session.run("SELECT VERSION(), CURRENT_USER()")[1][0]
        rows = session.run("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[1]
        return str(version), str(account), bool(rows and rows[0][1])
    return str(session.run("SELECT sqlite_version()")[1][0][0]), None, None
