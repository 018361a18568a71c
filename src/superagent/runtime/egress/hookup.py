"""The hookup: what a back end must do to put a sandbox behind the proxy.

Four things: bind `folder` to `INSIDE`, read-only; hand the descriptor `socket` in, under any number; put
`prefix(number)` before the command's arguments; add `env` to its environment. Then call the gate's `attach`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from superagent.core.problems import SandboxUnavailable

INSIDE = "/run/egress"
PYTHON = "/usr/bin/python3"
ADDRESS = "http://127.0.0.1:3128"
_INIT, _BUNDLE = "init.py", "authorities.pem"

_PROXY = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), ADDRESS),
    "NO_PROXY": "",
    "no_proxy": "",
    "NODE_USE_ENV_PROXY": "1",  # without it Node believes in direct connections
}
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")


@dataclass(frozen=True, slots=True)
class Hookup:
    """What a back end is given. `socket` stays the gate's to close; `env` and `folder` hold nothing secret."""

    folder: Path
    socket: int
    env: Mapping[str, str]
    python: str = PYTHON

    def prefix(self, number: int) -> tuple[str, ...]:
        """Give what stands before the command, when the descriptor has this number inside."""
        return (self.python, "-I", "-S", f"{INSIDE}/{_INIT}", str(number), "--")


def prepared(
    places: Path, socket: int, authority: bytes = b"", bundle: Path | None = None, python: str = PYTHON
) -> Hookup:
    """Make the folder of one sandbox below `places`; with an authority, also what the sandbox then trusts.

    Raises `SandboxUnavailable` when there is no Python that could run inside.
    """
    if not Path(python).exists():
        raise SandboxUnavailable(
            f"commands with a network need `{python}` on this machine", hint="install it: `apt install python3-minimal`"
        )
    spec = find_spec("superagent_launcher.egress_init")
    assert spec is not None  # it is a part of this distribution
    assert spec.origin is not None
    folder = Path(tempfile.mkdtemp(prefix="egress-", dir=places))
    folder.chmod(0o755)
    _readable(folder / _INIT, Path(spec.origin).read_bytes())
    env = dict(_PROXY)
    if authority:
        assert bundle is not None
        _readable(folder / _BUNDLE, bundle.read_bytes() + b"\n" + authority)
        env |= dict.fromkeys(_AUTHORITIES, f"{INSIDE}/{_BUNDLE}")
    return Hookup(folder, socket, env, python)


def removed(hookup: Hookup) -> None:
    """Remove the folder again."""
    shutil.rmtree(hookup.folder, ignore_errors=True)


def _readable(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o644)  # whatever the umask of the server is: another user reads it
