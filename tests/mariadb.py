"""MariaDB under test: a real server of the tests, in a folder of its own, and fresh databases in it."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from tests.needs import program
from tests.until import until

START_S = 60.0


@dataclass
class Server:
    """A server; who started it can end it in the middle."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    open: dict[str | None, Any] = field(default_factory=dict[str | None, Any])

    def run(self, statement: str, database: str | None = None, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement beside the platform; gives its rows."""
        if database not in self.open:
            self.open[database] = pymysql.connect(
                unix_socket=str(self.folder / "sock"),
                user="root",
                database=database,
                autocommit=True,
                charset="utf8mb4",
                connect_timeout=5,
            )
        with self.open[database].cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def stop(self) -> None:
        """End it and the connections of everybody."""
        if self.process is None:
            return
        for one in self.open.values():
            one.close()
        self.open.clear()
        self.process.kill()  # its folder goes with it
        self.process.wait(10)
        self.process = None

    def answers(self) -> bool:
        """Tell whether it takes statements."""
        return (self.folder / "sock").exists() and self.run("SELECT 1") == [(1,)]


@contextmanager
def server(port: int, password: str, *settings: str) -> Generator[Server]:
    """Start a server on 127.0.0.1 with the account `app`, and these settings; skips loudly where none is installed."""
    install, daemon = program("mariadb-install-db", "mariadb-server"), program("mariadbd", "mariadb-server")
    with tempfile.TemporaryDirectory(prefix="maria-") as name:
        folder = Path(name)
        user = None
        if not os.geteuid():
            user = pwd.getpwnam("mysql")
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        made_as = ["--user=mysql"] if user else []
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *made_as],
            check=True, capture_output=True, timeout=180, cwd=folder,
        )  # fmt: skip
        words = [
            daemon, "--no-defaults", f"--datadir={data}", f"--socket={folder}/sock", f"--port={port}",
            "--bind-address=127.0.0.1", f"--pid-file={folder}/pid", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M", "--skip-name-resolve", *settings, *made_as,
        ]  # fmt: skip
        made = Server(folder, port)
        with (folder / "log").open("ab") as log:
            made.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        try:
            until(made.answers, "the start of MariaDB", START_S)
            made.run("CREATE USER app@'127.0.0.1' IDENTIFIED BY %s", values=(password,))
            made.run("GRANT ALL ON *.* TO app@'127.0.0.1'")
            yield made
        finally:
            made.stop()
