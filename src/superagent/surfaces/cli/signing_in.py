"""Signing in: `superagent login` lets the command line act for a person at a server (RFC 8628); `logout` ends it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from superagent.core.problems import Denied, Problem, Unavailable
from superagent.surfaces.cli.logins import CLIENT, Login
from superagent.surfaces.cli.options import Parser, Usage
from superagent.surfaces.cli.remote import Remote
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE

FLOW = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_S = 5.0
LONGEST_S = 1800.0
_ABOUT = "Let the command line act for you at a server: it shows a code, and you allow it in a browser."
_SCOPE = "what it may do for you, `files.*` or `files.*:read`; everything that applications may, if none is given"


def login(session: Session, arguments: Sequence[str]) -> int:
    """Show a code, wait until its person has decided in a browser, and keep the tokens."""
    parser = Parser("login", _ABOUT)
    parser.add_argument("--scope", metavar="SCOPE", action="append", default=[], help=_SCOPE)
    session.read(parser, arguments)
    server = _server(session)
    remote, kept = Remote(server, None), Login(session.folder, server)
    if remote.in_the_clear:
        session.screen.note("warning: the tokens travel unencrypted; use https, or an SSH tunnel")
    asked = {"client_id": CLIENT} | ({"scope": " ".join(session.given.scope)} if session.given.scope else {})
    status, found = remote.form("/oauth/device_authorization", asked)
    where, code = _shown(found.get("verification_uri")), _shown(found.get("user_code"))
    if status != 200 or not where.startswith(("http://", "https://")) or not code:
        raise _refused(server, status, found)
    session.screen.note(f"open {where} in a browser and type in this code: {code}")
    session.screen.note("waiting until you have decided there; ctrl-C gives up")
    kept.keep(_decided(remote, server, found))
    if session.screen.json:
        session.screen.document({"server": kept.server, "logged_in": True})
    else:
        session.screen.line(f"logged in at {kept.server}")
    return DONE


def logout(session: Session, arguments: Sequence[str]) -> int:
    """Have the server end what was allowed, and forget the tokens."""
    session.read(Parser("logout", "End what `superagent login` began, there and here."), arguments)
    kept = Login(session.folder, _server(session))
    told = kept.end()
    if not told:
        session.screen.note(
            f"{kept.server} could not be told: end it there with `access.consents.revoke`; the tokens here are gone"
        )
    if session.screen.json:
        session.screen.document({"server": kept.server, "logged_in": False, "revoked": told})
    else:
        session.screen.line(f"logged out of {kept.server}")
    return DONE


def _decided(remote: Remote, server: str, codes: dict[str, Any]) -> dict[str, Any]:
    """Ask until the person has decided, as often as we were told (RFC 8628, 3.5); gives the tokens."""
    wait_s = _seconds(codes.get("interval"), 5.0)
    over = time.monotonic() + min(LONGEST_S, _seconds(codes.get("expires_in"), 600.0))
    asked = {"grant_type": FLOW, "client_id": CLIENT, "device_code": str(codes.get("device_code"))}
    while time.monotonic() < over:
        time.sleep(wait_s)
        try:
            status, found = remote.form("/oauth/token", asked)
        except Unavailable:  # RFC 8628, 3.5: wait longer when the connection fails
            wait_s *= 2
            continue
        if status == 200:
            return found
        match found.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                wait_s += SLOWER_S
            case "access_denied":
                raise Denied("you refused it in the browser", hint="run `superagent login` again if that was a mistake")
            case _:
                raise _refused(server, status, found)
    raise Denied("the code is over: nobody decided", hint="run `superagent login` again")


def _server(session: Session) -> str:
    """Give the server that was named, else the one that holds the data folder. Raises `Usage`."""
    named: str = getattr(session.given, "server", "")
    if named:
        return named
    from superagent.runtime.instance_lock import Holder, claim
    from superagent.runtime.places import existing, set_up

    if set_up(session.folder):
        found = claim(existing(session.folder).state, time.time(), 0.0)
        if isinstance(found, Holder):
            return found.address
        found.release()
    raise Usage("there is no server to log in at", "name it with `--server URL`, or start one with `superagent up`")


def _seconds(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int) and 0 <= value <= 86_400 else otherwise


def _shown(value: Any) -> str:
    """Give what a server wants shown, empty for anything that is more than plain text."""
    return value if isinstance(value, str) and value.isascii() and value.isprintable() and len(value) < 500 else ""


def _refused(server: str, status: int, found: dict[str, Any]) -> Problem:
    why = _shown(found.get("error_description")) or _shown(found.get("error")) or f"status {status}"
    return Unavailable(f"{server} does not log the command line in: {why}", hint="check the address")
