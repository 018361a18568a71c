"""PostgreSQL under test: a real server of the tests, on a socket in a folder of its own, and fresh databases in it."""

from __future__ import annotations

import glob
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.needs import missing
from tests.until import until

START_S = 60.0
_ROOM = 8 << 30


@dataclass
class Server:
    """A server, known by the folder of its socket; who started it can stop it and begin it anew."""

    folder: Path
    command: tuple[str, ...] = ()
    user: int | None = None
    process: subprocess.Popen[bytes] | None = None
    port: int = 5432

    def begin(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, user=self.user,
                cwd=self.folder,
            )  # fmt: skip
        until(self._answers, "the start of PostgreSQL", START_S)

    def stop(self) -> None:
        """End it and the connections of everybody."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)  # what PostgreSQL calls a fast shutdown
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def url(self, name: str) -> str:
        """Give the URL of a database, made empty when it is asked for the first time."""
        database = database_of(name)
        if (database,) not in self.run("SELECT datname FROM pg_database"):
            self.run(f"CREATE DATABASE {database}")
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement beside the platform; gives its rows."""
        with psycopg.connect(self.plain(database), autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def plain(self, database: str = "postgres") -> str:
        """Give what libpq connects with."""
        return f"host={self.folder} port={self.port} user=postgres dbname={database}"

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def programs() -> Path | None:
    """Give the folder of the newest PostgreSQL that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    plain = shutil.which("postgres")
    return Path(found[-1]).parent if found else Path(plain).parent if plain else None


@contextmanager
def server(*settings: str, port: int = 0) -> Generator[Server]:
    """Start a server with these settings (`name=value`); skips loudly where none is installed.

    With a port it listens on this machine as well.
    """
    place = programs()
    if place is None:
        missing("PostgreSQL is not installed: apt install postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", dir=_quick()) as name:  # short: a socket's path may have 107 bytes
        folder = Path(name)
        user = _ordinary(folder)
        data = folder / "data"
        command = [f"{place}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, timeout=120, user=user, cwd=folder)
        # `C.UTF-8` is not the default on purpose: an ordering by a language would show
        options = [f"listen_addresses={'127.0.0.1' if port else ''}", f"unix_socket_directories={folder}"]
        options += ["fsync=off", "max_connections=200", *settings, *([f"port={port}"] if port else [])]
        words = [f"{place}/postgres", "-D", str(data), *(word for one in options for word in ("-c", one))]
        made = Server(folder, tuple(words), user, port=port or 5432)
        try:
            made.begin()
            yield made
        finally:
            made.stop()


def database_of(name: str) -> str:
    """Give the name of the database that stands for a name of any kind."""
    return "t" + hashlib.sha256(name.encode()).hexdigest()[:24]


def _quick() -> str | None:
    """Give a folder in memory with room for the thousand files of each of many databases, if there is one.

    It syncs nothing (`fsync=off`), so where its files lie changes what it does in speed only.
    """
    memory = "/dev/shm"
    return memory if os.path.ismount(memory) and shutil.disk_usage(memory).free > _ROOM else None


def _ordinary(folder: Path) -> int | None:
    """Give the user to start it as, for it refuses to run as root."""
    if os.geteuid():
        return None
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_uid
