"""The capability `clients`: the programs that dump and load databases, and seals for what they give.

Which programs, with which words and surroundings, is fixed here: a plugin names a kind of database and the place. They
are the system's own and talk to a server that was vetted, so they run beside the sandbox (a container without a network
could not reach the server), but with nothing of this process: a clean environment, no terminal, no folder of ours, no
files to write, and as the tenant's user where there is one. A password stands in a file in memory that only the program
can open, never among its words or in its environment.
"""

from __future__ import annotations

import glob
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Protocol

from superagent.core.context import Context
from superagent.core.problems import Conflict, Internal, Unavailable
from superagent.runtime.stored import Seals, place

Kind = Literal["postgresql", "mariadb"]
PURPOSE = "backups"
CHUNK = 1024 * 1024
ENDS_S = 3.0
"""How long a program may take to end that was asked to."""
_SAID = 16 * 1024
_INSTALL = {"postgresql": "postgresql-client", "mariadb": "mariadb-client"}
# without the events of MariaDB, which would run in every copy
_DUMPS = {
    "postgresql": ("pg_dump", "--format=custom", "--no-password", "--lock-wait-timeout=30000"),
    "mariadb": (
        "mariadb-dump", "--single-transaction", "--quick", "--hex-blob", "--skip-comments", "--routines", "--triggers",
        "--skip-lock-tables", "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
    ),
}  # fmt: skip
_LOADS = {
    "postgresql": (
        "pg_restore", "--format=custom", "--no-password", "--no-owner", "--no-privileges", "--exit-on-error",
        "--single-transaction",
    ),
    # its own commands, of which some start programs, could stand in what was dumped from a hostile server
    "mariadb": (
        "mariadb", "--sandbox", "--binary-mode", "--batch", "--local-infile=0", "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
    ),
}  # fmt: skip


class Server(Protocol):
    """Where a database is, vetted, and who opens it."""

    @property
    def host(self) -> str:
        """Give the name that a certificate must bear."""
        ...

    @property
    def address(self) -> str:
        """Give the address that was vetted."""
        ...

    @property
    def port(self) -> int:
        """Give the port."""
        ...

    @property
    def database(self) -> str:
        """Give the database's name."""
        ...

    @property
    def user(self) -> str:
        """Give the account."""
        ...

    @property
    def password(self) -> str:
        """Give the account's password, empty for none."""
        ...

    @property
    def tls(self) -> bool:
        """Tell whether the server has to prove who it is."""
        ...

    @property
    def ca_file(self) -> str:
        """Give the file of authorities to trust, empty for the system's."""
        ...

    @property
    def ca(self) -> str:
        """Give the authorities (PEM) that alone are trusted in place of those, empty for none."""
        ...


class Clients:
    """The programs of one call, and its seals. All of it blocks: use it in `ctx.thread`."""

    def __init__(self, ctx: Context, keys: Seals, user: Callable[[str], Awaitable[int | None]]) -> None:
        self._ctx = ctx
        self._keys = keys
        self._user = user

    async def ready(self, kind: Kind) -> int | None:
        """See that the programs are installed, and give whose they will be. Raises `Unavailable` with the cure."""
        for words in (_DUMPS[kind], _LOADS[kind]):
            _path(kind, words[0])
        return await self._user(self._ctx.tenant)

    @contextmanager
    def dumping(self, kind: Kind, server: Server, user: int | None, snapshot: str = "") -> Generator[Program]:
        """Start a dump, of a snapshot that another session of PostgreSQL holds if one is named."""
        more = (f"--snapshot={snapshot}",) if snapshot else ()
        with _started(kind, (*_DUMPS[kind], *more), server, user) as program:
            yield program

    @contextmanager
    def loading(self, kind: Kind, server: Server, user: int | None) -> Generator[Program]:
        """Start to load a dump into an empty database."""
        more = (f"--dbname=dbname={_conninfo(server.database)}",) if kind == "postgresql" else ()
        with _started(kind, (*_LOADS[kind], *more), server, user) as program:
            yield program

    def seal(self, about: tuple[str, ...], data: bytes) -> bytes:
        """Encrypt with a key of this installation; only this tenant's calls open it, for the same purpose."""
        return self._keys.seal(PURPOSE, place(self._ctx.tenant, *about), data)

    def open(self, about: tuple[str, ...], sealed: bytes) -> bytes:
        """Decrypt. Raises `Denied` for what was changed, cut, or belongs elsewhere."""
        return self._keys.open(PURPOSE, place(self._ctx.tenant, *about), sealed)


class Program:
    """A program that runs; its end is the end of the block in which it was started."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._name = name
        self._asked = False
        self._said = bytearray()
        self._listener = threading.Thread(target=self._listen, name="clients", daemon=True)
        self._listener.start()

    def chunks(self) -> Iterator[bytes]:
        """Give what it writes, to its end. Raises `Conflict` when it failed."""
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), CHUNK):
            yield data
        self.conclude()

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Let it read this. Raises `Conflict` when it failed."""
        stream = self._process.stdin
        assert stream is not None
        with suppress(BrokenPipeError):  # it ended early, and says why
            for data in chunks:
                stream.write(data)
            stream.close()
        self.conclude()

    def conclude(self) -> None:
        """Wait for its end. Raises `Conflict` with what it said."""
        code = self._process.wait()
        self._listener.join(5)
        if code:
            said = self._said.decode("utf-8", "replace").strip().splitlines()
            raise Conflict(f"`{self._name}` failed: {' '.join(said[-3:])[:800] or f'it ended with {code}'}")

    def kill(self) -> None:
        """Ask it to end, which has it stop the server's work as well; who asks again ends it at once."""
        with suppress(ProcessLookupError):
            if self._asked:
                self._process.kill()
            else:
                self._process.terminate()
        self._asked = True

    def close(self) -> None:
        """End it if it still runs, and let go of everything."""
        if self._process.poll() is None:
            self.kill()
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with suppress(ValueError, OSError):
            while data := os.read(self._process.stderr.fileno(), 4096):
                self._said += data
                del self._said[:-_SAID]


@contextmanager
def _started(kind: Kind, words: tuple[str, ...], server: Server, user: int | None) -> Generator[Program]:
    path = _path(kind, words[0])
    own = _in_memory(server.ca, user) if server.tls and server.ca else None
    trusted = server.ca_file if own is None else f"/proc/self/fd/{own}"
    handed = [] if own is None else [own]
    try:
        handed.append(_in_memory(_secret(kind, server, trusted), user))
        there = f"/proc/self/fd/{handed[-1]}"
        rest = list(words[1:])
        if kind == "mariadb":
            rest = [f"--defaults-file={there}", *rest, "--", server.database]
        process = subprocess.Popen(
            [path, *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env=_environment(kind, server, there, trusted), pass_fds=handed, start_new_session=True,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip
    finally:
        for one in handed:
            os.close(one)
    program = Program(process, words[0])
    try:
        for limit in (
            resource.RLIMIT_CORE,
            resource.RLIMIT_FSIZE,
        ):  # no core with a password in it, and no files at all
            with suppress(ProcessLookupError, PermissionError):
                resource.prlimit(process.pid, limit, (0, 0))
        yield program
    finally:
        program.close()


def _path(kind: Kind, name: str) -> str:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which(name, path="/usr/bin:/usr/local/bin")
    if path is None:
        raise Unavailable(f"`{name}` is not installed", hint=f"install `{_INSTALL[kind]}` on the server")
    return path


def _environment(kind: Kind, server: Server, secret: str, trusted: str) -> dict[str, str]:
    plain = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TZ": "UTC"}
    if kind == "mariadb":
        return plain
    trust = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": trusted or "system"}
    return {
        **plain,
        "PGHOST": server.host,
        "PGHOSTADDR": server.address,
        "PGPORT": str(server.port),
        "PGDATABASE": server.database,
        **({"PGUSER": server.user} if server.user else {}),
        "PGPASSFILE": secret,
        **(trust if server.tls else {"PGSSLMODE": "disable"}),
        "PGGSSENCMODE": "disable",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "superagent",
        "PGCLIENTENCODING": "UTF8",
    }


def _secret(kind: Kind, server: Server, trusted: str) -> str:
    """Give the text of a file with what the program must know and nobody else."""
    if any(mark in server.password for mark in "\0\n\r"):
        raise Internal("a password of a database has no line breaks")
    if kind == "postgresql":
        return "*:*:*:*:" + server.password.replace("\\", "\\\\").replace(":", "\\:") + "\n" if server.password else ""
    # TLS proves the name; without it, which is within this machine only, the address was vetted
    lines = [f"host={_option(server.host if server.tls else server.address)}", f"port={server.port}"]
    lines += ["protocol=tcp", f"user={_option(server.user)}", f"password={_option(server.password)}"]
    lines += ["ssl-verify-server-cert"] if server.tls else ["skip-ssl"]
    lines += [f"ssl-ca={_option(trusted)}"] if server.tls and trusted else []
    return "\n".join(["[client]", *lines, ""])


def _in_memory(text: str, user: int | None) -> int:
    """Give a descriptor of a file in memory that nobody else can open."""
    made = os.memfd_create("options", os.MFD_CLOEXEC)
    try:
        os.write(made, text.encode())
        os.fchmod(made, 0o400)
        if user is not None:
            os.fchown(made, user, user)
    except BaseException:
        os.close(made)
        raise
    return made


def _option(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _conninfo(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
