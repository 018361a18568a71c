"""Settings: one frozen typed object, read once: defaults < superagent.toml < environment < flags."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from superagent.core.problems import InvalidInput
from superagent.core.shape import faults_of

PREFIX = "SUPERAGENT_"
FILE_ONLY = frozenset(
    [
        "net.allow_private",
        "net.ca_file",
        "notify.email_from",
        "notify.email_to",
        "notify.smtp_host",
        "notify.smtp_password_file",
        "notify.smtp_port",
        "notify.smtp_security",
        "notify.smtp_user",
        "notify.webhook",
        "plugins.trusted",
        "sandbox.allow_unsafe",
        "sandbox.docker_socket",
        "sandbox.podman_socket",
    ]
)
"""What only whoever can write the settings file by hand may set."""
BACKENDS = ("docker", "podman", "gvisor")
Origin = Literal["default", "file", "environment", "flag"]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _public_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", text):
        raise ValueError("write scheme and host, in small letters and without a path: `https://agents.example.org`")
    return text


def _networks(texts: list[str]) -> list[str]:
    return [str(ipaddress.ip_network(text, strict=False)) for text in texts]


class Server(Section):
    """Where and how the server listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=65536, description="0 takes a free port")] = 8750
    workers: Annotated[int, Field(ge=1, le=64, description="processes on this host")] = 1
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    max_blob_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024 * 1024
    cors_origins: list[str] = []
    public_url: Annotated[
        str, AfterValidator(_public_url), Field(description="as browsers reach it: `https://agents.example.org`")
    ] = ""
    trusted_proxies: Annotated[
        list[str],
        AfterValidator(_networks),
        Field(description="networks whose `X-Forwarded-For` says who calls: `127.0.0.1/32`"),
    ] = []
    tls_cert: Annotated[
        str,
        Field(description="a PEM file: the server's certificate, then those above it; with it, it speaks TLS itself"),
    ] = ""
    tls_key: Annotated[str, Field(description="a PEM file: the key of that certificate")] = ""
    stop_grace_s: Annotated[
        float, Field(ge=1, le=600, description="after a signal to stop, calls still at work are cut off after so long")
    ] = 20.0
    fast_lane: Annotated[bool, Field(description="answer short operations without ASGI in between")] = True


class Database(Section):
    """Where state is kept; empty for SQLite in the data folder."""

    url: str = ""


class Queue(Section):
    """What carries work to other processes; empty for this one."""

    url: str = ""


def _backends(names: list[str]) -> list[str]:
    if odd := [name for name in names if name not in BACKENDS]:
        raise ValueError(f"`{odd[0][:60]}` is none of {', '.join(BACKENDS)}")
    return names


class Sandbox(Section):
    """How well commands must be contained."""

    minimum_level: Literal["none", "landlock", "native", "container", "vm"] = "native"
    hosts: Annotated[
        list[str], Field(description="what commands with a network may reach at most; grants say who may")
    ] = ["*:443", "*:80"]
    visible: Annotated[list[str], Field(description="further folders of this machine that commands may read")] = []
    first_user: Annotated[
        int, Field(ge=1000, lt=2**31, description="a root server runs tenants as users from here")
    ] = 1_900_000_000
    users: Annotated[int, Field(ge=2, le=1_000_000, description="how many users it may take from there")] = 65_536
    backends: Annotated[
        list[str],
        AfterValidator(_backends),
        Field(description="docker, podman, gvisor: the best first; none by itself"),
    ] = []
    allow_unsafe: Annotated[
        bool, Field(description="let grants that name the profile `danger-none` run commands with nothing around them")
    ] = False
    image: Annotated[
        str, Field(description="what containers are made from; empty shows them what is installed here")
    ] = ""
    cache_bytes: Annotated[
        int, Field(ge=0, description="what the package cache of one caller and workspace may hold; 0 for no caches")
    ] = 536_870_912
    docker_socket: Annotated[str, Field(description="empty for /run/docker.sock")] = ""
    podman_socket: Annotated[str, Field(description="empty for this user's own")] = ""


class Files(Section):
    """What people with the roles operator and viewer can reach, besides their workspaces."""

    roots: list[str] = []


class Net(Section):
    """Where the platform itself may connect to; only the settings file says so, never the environment or a flag."""

    allow_private: Annotated[
        list[str], Field(description="networks such as `10.1.2.0/24` that may be connected to although not public")
    ] = []
    ca_file: Annotated[str, Field(description="a PEM file of further authorities to trust in TLS")] = ""


class Plugins(Section):
    """Which plugins of others are loaded, and how; those in the data folder's `plugins` are found by themselves."""

    folders: Annotated[list[str], Field(description="further folders that hold folders of plugins")] = []
    hosted: Annotated[
        list[str], Field(description="run in a sandbox, and what each may at most: `notes: files call:files.read`")
    ] = []
    trusted: Annotated[list[str], Field(description="run inside the server, with all that it may itself")] = []


class SignIn(Section):
    """How people sign in, and for how long."""

    idle_s: Annotated[float, Field(ge=60, description="a browser session ends after so long without a request")] = 3600
    life_s: Annotated[float, Field(ge=60, le=30 * 86_400, description="and after so long in any case")] = 43_200
    tries_per_account: Annotated[int, Field(ge=1, description="at once; one a minute grows back")] = 10
    tries_per_address: Annotated[int, Field(ge=1, description="at once; one each 10 s grows back")] = 30
    issuer: Annotated[str, Field(description="an OpenID Connect provider, as it names itself; empty for none")] = ""
    client_id: str = ""
    client_secret_file: Annotated[str, Field(description="a file that holds the client's secret")] = ""


class Limits(Section):
    """How much one agent key may ask for; the owner has no limit."""

    agent_rate_per_s: Annotated[float, Field(gt=0)] = 50.0
    agent_burst: Annotated[int, Field(ge=1)] = 100
    undo_quota_bytes: Annotated[int, Field(ge=0)] = 10 * 1024**3
    blob_quota_bytes: Annotated[int, Field(ge=0, description="stored results and uploads of a tenant")] = 10 * 1024**3
    key_quota_bytes: Annotated[int, Field(ge=0, description="outcomes remembered by idempotency key")] = 4 * 1024**3
    held_quota_bytes: Annotated[
        int, Field(ge=0, description="views that wait, job logs and undo of a tenant, together")
    ] = 16 * 1024**3
    reserve_bytes: Annotated[
        int, Field(ge=0, description="of a disk stay free, for the audit: below it, one can only read and delete")
    ] = 512 * 1024**2
    agent_share: Annotated[float, Field(gt=0, le=1, description="of each quota, for one agent")] = 0.25
    streams: Annotated[
        int, Field(ge=1, le=64, description="such as `files.watch`, under way at a time in a process")
    ] = 8
    jobs: Annotated[int, Field(ge=1, le=64, description="that run at a time in a process; more wait their turn")] = 8
    commands: Annotated[int, Field(ge=1, le=256, description="that run at a time in a process; more wait theirs")] = 32


class OAuth(Section):
    """How clients come to tokens."""

    registration: Annotated[bool, Field(description="let clients register themselves, whoever they are (RFC 7591)")] = (
        False
    )


class AuditLog(Section):
    """How the audit is kept."""

    anchor: Annotated[str, Field(description="a file outside the data folder that also gets each checkpoint")] = ""
    stuck_after_s: Annotated[float, Field(gt=0)] = 10.0


class Notify(Section):
    """How people learn that a call waits for their approval; only the settings file says so."""

    webhook: Annotated[str, Field(description="an `https://` address that gets a JSON document for each")] = ""
    smtp_host: Annotated[str, Field(description="the mail server; empty sends no mail")] = ""
    smtp_port: Annotated[int, Field(ge=1, lt=65536)] = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password_file: Annotated[str, Field(description="a file that holds the password and nothing else")] = ""
    email_from: str = "superagent@localhost"
    email_to: list[str] = []


class Log(Section):
    """What the server writes about itself."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """Everything that can be set."""

    server: Server = Server()
    database: Database = Database()
    queue: Queue = Queue()
    sandbox: Sandbox = Sandbox()
    files: Files = Files()
    net: Net = Net()
    plugins: Plugins = Plugins()
    sign_in: SignIn = SignIn()
    limits: Limits = Limits()
    oauth: OAuth = OAuth()
    audit: AuditLog = AuditLog()
    notify: Notify = Notify()
    log: Log = Log()


class Loaded(BaseModel):
    """Settings, the data folder they belong to, and where each value came from (`section.field` → origin)."""

    model_config = ConfigDict(frozen=True)

    data: Path
    settings: Settings
    origins: dict[str, Origin]

    @property
    def file(self) -> Path:
        """Give the settings file."""
        return self.data / "superagent.toml"


def data_folder(flag: str = "", environ: Mapping[str, str] | None = None) -> Path:
    """Give the data folder: the flag, else `SUPERAGENT_DATA`, else the platform's user data folder."""
    env = os.environ if environ is None else environ
    chosen = flag or env.get("SUPERAGENT_DATA", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "superagent"
    return Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "superagent"


def load(
    data: Path,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """Read the settings. Raises `InvalidInput` naming each wrong value and where it stands."""
    env = os.environ if environ is None else environ
    layers: list[tuple[Origin, dict[str, Any]]] = [
        ("file", _of_file(file or data / "superagent.toml")),
        ("environment", _of_environment(env)),
        ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
    ]
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, Origin] = dict.fromkeys(names(), "default")
    for origin, layer in layers:
        for name, value in layer.items():
            if name in FILE_ONLY and origin != "file":
                raise InvalidInput(
                    f"`{name}` is taken from the settings file only, not from {origin}",
                    hint=f"write it into `{data / 'superagent.toml'}`",
                )
            section, _, field = name.partition(".")
            values.setdefault(section, {})[field] = value
            origins[name] = origin
    return Loaded(data=data, settings=parse(values, origins), origins=origins)


def parse(values: Mapping[str, Any], origins: Mapping[str, Origin] | None = None) -> Settings:
    """Check settings values. Raises `InvalidInput`."""
    try:
        return Settings.model_validate(values)
    except ValidationError as bad:
        faults = faults_of(bad)
        first = faults[0]
        where = (origins or {}).get(first.path.removeprefix("$."), "default")
        raise InvalidInput(
            f"setting `{first.path.removeprefix('$.')}` (from {where}): {first.message}",
            errors=faults,
            hint="`superagent settings` lists every setting with its value and origin",
        ) from None


def names() -> list[str]:
    """Give every setting as `section.field`."""
    found: list[str] = []
    for section in Settings.model_fields:
        found += [f"{section}.{field}" for field in _section(section).model_fields]
    return found


def _section(name: str) -> type[Section]:
    kind = Settings.model_fields[name].annotation
    assert isinstance(kind, type) and issubclass(kind, Section)
    return kind


def _of_file(path: Path) -> dict[str, Any]:
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as bad:
        raise InvalidInput(f"`{path}` cannot be read: {bad}", hint="correct it or move it away") from None
    flat: dict[str, Any] = {}
    for section, fields in parsed.items():
        if not isinstance(fields, dict):
            raise InvalidInput(
                f"`{path}`: `{section}` stands outside of a section", hint="write `[server]`, then `port = …`"
            )
        flat |= {f"{section}.{field}": value for field, value in cast("dict[str, Any]", fields).items()}
    return flat


def _of_environment(env: Mapping[str, str]) -> dict[str, Any]:
    known = set(names())
    flat: dict[str, Any] = {}
    for key, text in env.items():
        if not key.startswith(PREFIX) or "__" not in key:
            continue
        section, _, field = key.removeprefix(PREFIX).lower().partition("__")
        name = f"{section}.{field}"
        if name not in known:
            raise InvalidInput(f"`{key}` names no setting", hint="`superagent settings` lists every setting")
        kind = _section(section).model_fields[field].annotation
        flat[name] = [part for part in text.split(",") if part] if kind == list[str] else text
    return flat
