"""Recovery: `superagent recover` lets a person in who has lost a second factor, by the hand of who owns the folder."""

from __future__ import annotations

import time
from collections.abc import Sequence

from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE

_ABOUT = "Let a person in who lost a second factor: a link for a browser, good once and for 15 minutes."


def recover(session: Session, arguments: Sequence[str]) -> int:
    """Lay down an offer in the state folder and print the link that takes it up.

    Only the user of this machine that owns the folder can do so, and that is the proof; no key is asked for.
    """
    parser = Parser("recover", _ABOUT)
    parser.add_argument("person", nargs="?", default="owner", help="TENANT/NAME, or NAME in the tenant `default`")
    session.read(parser, arguments)
    from superagent.runtime.instance_lock import Holder, claim
    from superagent.runtime.places import existing
    from superagent.runtime.sign_in.recovery import offer
    from superagent.settings import load

    tenant, slash, name = session.given.person.rpartition("/")
    places, now = existing(session.folder), time.time()
    found = claim(places.state, now, 0.0)
    if not isinstance(found, Holder):
        found.release()
    running = found.address if isinstance(found, Holder) else ""
    base = load(session.folder).settings.server.public_url or by_name(running)
    token = offer(places.state, tenant if slash else "default", name, now)
    link = f"{base or 'http://localhost:8750'}/sign-in/link/{token}"
    if session.screen.json:
        session.screen.document({"link": link, "person": session.given.person, "until": now + 900})
        return DONE
    session.screen.line(link)
    session.screen.note("open it once, within 15 minutes; then add a new second factor and remove the lost one")
    if not running:
        session.screen.note("no server runs on this folder: start it with `superagent up` first")
    return DONE


def by_name(address: str) -> str:
    """Give an address of this machine by its name: passkeys belong to names."""
    scheme, _, host = address.partition("://")
    return f"{scheme}://localhost:{host.rpartition(':')[2]}" if host else ""
