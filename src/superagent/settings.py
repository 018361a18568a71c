"""Settings: one frozen typed object, read once: defaults < superagent.toml < environment < flags."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from superagent.core.operation import faults_of
from superagent.core.problems import InvalidInput

PREFIX = "SUPERAGENT_"
FILE_ONLY = frozenset({"net.allow_private", "net.ca_file"})
"""What only whoever can write the settings file by hand may set."""
Origin = Literal["default", "file", "environment", "flag"]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    """Where and how the server listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=65536, description="0 takes a free port")] = 8750
    workers: Annotated[int, Field(ge=1, le=64, description="processes on this host")] = 1
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    max_blob_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024 * 1024
    cors_origins: list[str] = []
    fast_lane: Annotated[bool, Field(description="answer short operations without ASGI in between")] = True


class Database(Section):
    """Where state is kept; empty for SQLite in the data folder."""

    url: str = ""


class Queue(Section):
    """What carries work to other processes; empty for this one."""

    url: str = ""


class Sandbox(Section):
    """How well commands must be contained."""

    minimum_level: Literal["none", "landlock", "native", "container", "vm"] = "native"
    visible: Annotated[list[str], Field(description="further folders of this machine that commands may read")] = []
    first_user: Annotated[
        int, Field(ge=1000, lt=2**31, description="a root server runs tenants as users from here")
    ] = 1_900_000_000
    users: Annotated[int, Field(ge=2, le=1_000_000, description="how many users it may take from there")] = 65_536


class Files(Section):
    """What people with the roles operator and viewer can reach, besides their workspaces."""

    roots: list[str] = []


class Net(Section):
    """Where the platform itself may connect to; only the settings file says so, never the environment or a flag."""

    allow_private: Annotated[
        list[str], Field(description="networks such as `10.1.2.0/24` that may be connected to although not public")
    ] = []
    ca_file: Annotated[str, Field(description="a PEM file of further authorities to trust in TLS")] = ""


class Limits(Section):
    """How much one agent key may ask for; the owner has no limit."""

    agent_rate_per_s: Annotated[float, Field(gt=0)] = 50.0
    agent_burst: Annotated[int, Field(ge=1)] = 100
    undo_quota_bytes: Annotated[int, Field(ge=0)] = 10 * 1024**3
    blob_quota_bytes: Annotated[int, Field(ge=0, description="stored results and uploads of a tenant")] = 10 * 1024**3
    key_quota_bytes: Annotated[int, Field(ge=0, description="outcomes remembered by idempotency key")] = 4 * 1024**3
    agent_share: Annotated[float, Field(gt=0, le=1, description="of each quota, for one agent")] = 0.25
    streams: Annotated[
        int, Field(ge=1, le=64, description="such as `files.watch`, under way at a time in a process")
    ] = 8


class AuditLog(Section):
    """How the audit is kept."""

    anchor: Annotated[str, Field(description="a file outside the data folder that also gets each checkpoint")] = ""
    stuck_after_s: Annotated[float, Field(gt=0)] = 10.0


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
    limits: Limits = Limits()
    audit: AuditLog = AuditLog()
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
