"""Accounts of a server: who there is, what they may do with tables, and the statements that change it.

Passwords leave here only as the server would keep them: what is sent, and may be logged there, opens nothing by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from .lacking import Lacking
from .names import Named, Refused
from .parsing import quoted
from .session import Failed, Session

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9_.%:\-]{1,60}")
_ROUNDS = 4096  # as PostgreSQL itself does

_ROLES = """SELECT r.rolname, r.rolcanlogin, r.rolconnlimit,
    r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
    EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid OR m.roleid = r.oid)
    FROM pg_catalog.pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%%' ORDER BY 1"""
_ROLE_GRANTS = """SELECT COALESCE(r.rolname, 'PUBLIC'), n.nspname, c.relname, x.privilege_type
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2, 3, 4"""
_USERS = """SELECT CONCAT(User, '@', Host), 1, max_user_connections, 'Y' IN (Select_priv, Insert_priv, Update_priv,
    Delete_priv, Create_priv, Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, Alter_priv,
    Super_priv, Create_user_priv, Event_priv, Trigger_priv, Execute_priv, Repl_slave_priv),
    EXISTS (SELECT 1 FROM mysql.db d WHERE d.User = u.User AND d.Host = u.Host)
      OR EXISTS (SELECT 1 FROM mysql.roles_mapping m WHERE m.User = u.User AND m.Host = u.Host)
      OR EXISTS (SELECT 1 FROM mysql.procs_priv p WHERE p.User = u.User AND p.Host = u.Host)
    FROM mysql.user u WHERE is_role = 'N' ORDER BY 1"""
_USER_GRANTS = "SELECT CONCAT(User, '@', Host), Db, Table_name, Table_priv FROM mysql.tables_priv ORDER BY 1, 2, 3"
_LOCKED = """SELECT CONCAT(User, '@', Host) FROM mysql.global_priv
    WHERE JSON_VALUE(Priv, '$.account_locked') IN ('true', '1')"""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may open the database.

    `powers` says that it may do more than tables say; `bound`, that it belongs to groups or has rights elsewhere.
    `grants` are rights on tables, by name; `most` the connections it may have, 0 or less for any number.
    """

    name: str
    login: bool
    most: int
    powers: bool
    bound: bool
    grants: dict[Named, tuple[str, ...]] = field(default_factory=dict[Named, tuple[str, ...]])


def path_of(account: str) -> str:
    """Give how resources name an account: no table is named so."""
    return "@" + quote(account, safe="@")


def checked(account: str, dialect: str) -> str:
    """Go on with a name that is written plainly. Raises `Refused`."""
    name, at, host = account.partition("@") if dialect == "mysql" else (account, "", "")
    if dialect == "mysql" and (not at or not _HOST.fullmatch(host)):
        raise Refused(f"`{account[:100]}` names no account", "write `name@host`, such as `reader@10.0.0.%`")
    if not _PLAIN.fullmatch(name) or name.startswith("pg_") or name.lower() == "public":
        raise Refused(f"`{account[:100]}` names no account", "letters, digits, `_`, `.` and `-` make a name")
    return account


def accounts(session: Session) -> dict[str, Account]:
    """Give every account, by name. Raises `Lacking`, or `Refused` when this connection may not look."""
    if session.dialect == "sqlite":
        raise Lacking("SQLite has no accounts", "who may open the file is decided by its folder")
    mysql = session.dialect == "mysql"
    try:
        rows = session.run(_USERS if mysql else _ROLES)[1]
        granted = session.run(_USER_GRANTS if mysql else _ROLE_GRANTS)[1]
        locked = {str(row[0]) for row in session.run(_LOCKED)[1]} if mysql else set[str]()
    except Failed as bad:
        raise Refused(f"this connection may not look at accounts: {bad.message}", "give it one that may") from None
    found = {
        str(row[0]): Account(
            str(row[0]), bool(row[1]) and str(row[0]) not in locked, int(row[2]), bool(int(row[3])), bool(int(row[4]))
        )
        for row in rows
    }
    for name, schema, table, privileges in granted:
        grants = found.setdefault(str(name), Account(str(name), False, 0, False, False)).grants
        named = Named(str(schema), str(table))
        rights = [one.upper() for one in str(privileges).split(",") if one]
        grants[named] = tuple(sorted({*grants.get(named, ()), *rights}))
    return found


def own_account(session: Session) -> str:
    """Name the account of this session."""
    return str(session.run("SELECT CURRENT_USER()" if session.dialect == "mysql" else "SELECT current_user")[1][0][0])


def create(session: Session, account: str, password: str) -> None:
    """Make an account that may do nothing; without a password nobody can open the database as it."""
    who = _who(session, account)
    if session.dialect == "mysql":
        how = f"IDENTIFIED BY PASSWORD {_kept(session, password)}" if password else "ACCOUNT LOCK"
        session.run(f"CREATE USER {who} {how}")
        return
    how = f"LOGIN PASSWORD {_kept(session, password)}" if password else "NOLOGIN"
    session.run(f"CREATE ROLE {who} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS {how}")


def set_password(session: Session, account: str, password: str) -> None:
    """Give an account another password."""
    by = "IDENTIFIED BY PASSWORD" if session.dialect == "mysql" else "PASSWORD"
    session.run(f"ALTER {_kind(session)} {_who(session, account)} {by} {_kept(session, password)}")


def alter(session: Session, account: str, login: bool, most: int) -> None:
    """Say whether it may open the database, and how many connections it may have."""
    who = _who(session, account)
    if session.dialect == "mysql":
        lock = "UNLOCK" if login else "LOCK"
        session.run(f"ALTER USER {who} WITH MAX_USER_CONNECTIONS {int(most)} ACCOUNT {lock}")
    else:
        session.run(f"ALTER ROLE {who} {'LOGIN' if login else 'NOLOGIN'} CONNECTION LIMIT {int(most)}")


def drop(session: Session, account: str) -> None:
    """Let there be no such account. Raises `Failed` where something depends on it."""
    session.run(f"DROP {_kind(session)} {_who(session, account)}")


def give(session: Session, account: str, table: Named, privileges: Sequence[str]) -> None:
    """Give rights on a table."""
    if privileges:
        session.run(f"GRANT {_rights(privileges)} ON {_table(session, table)} TO {_who(session, account)}")


def take(session: Session, account: str, table: Named, privileges: Sequence[str]) -> None:
    """Take rights on a table away."""
    if privileges:
        session.run(f"REVOKE {_rights(privileges)} ON {_table(session, table)} FROM {_who(session, account)}")


def _rights(privileges: Sequence[str]) -> str:
    assert set(privileges) <= set(PRIVILEGES)
    return ", ".join(privileges)


def _kind(session: Session) -> str:
    return "USER" if session.dialect == "mysql" else "ROLE"


def _who(session: Session, account: str) -> str:
    checked(account, session.dialect)
    if session.dialect != "mysql":
        return quoted(account, "postgres")
    name, _, host = account.partition("@")
    return f"'{name}'@'{host.replace('%', '%%')}'"


def _table(session: Session, table: Named) -> str:
    place = f"{quoted(table.schema, session.dialect)}.{quoted(table.name, session.dialect)}"
    return ("" if session.dialect == "mysql" else "TABLE ") + place.replace("%", "%%")


def _kept(session: Session, password: str) -> str:
    """Give a password as a literal of what the server keeps of it, in letters that need no quoting."""
    if session.dialect == "mysql":
        once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
        return f"'*{hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()}'"
    if not password.isascii() or not password.isprintable():
        raise Refused("this password has other characters than ASCII", "servers spell those in several ways")
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    spelled = [base64.b64encode(one).decode() for one in (salt, stored, server)]
    return f"'SCRAM-SHA-256${_ROUNDS}:{spelled[0]}${spelled[1]}:{spelled[2]}'"
