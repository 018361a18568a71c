"""Lending: `superagent keys attenuate`, which asks no server and needs no data folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from superagent.surfaces.cli.options import Parser, Usage, seconds
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE

_ABOUT = """\
Make a weaker key of a key, for a sub-agent, without asking the server.

What comes out does what these grants say and what the key itself may, ends when it is told to, and dies with the key.
"""


def attenuate(session: Session, arguments: Sequence[str]) -> int:
    """Make a weaker, shorter-lived key and print it."""
    session.read(_parser(), arguments)
    from pydantic import ValidationError

    from superagent.core.attenuation import LONGEST_LIFE_S, Caveat
    from superagent.core.shape import faults_of
    from superagent.runtime.attenuating import attenuate as make

    given = session.given
    if not 0 < given.expires <= LONGEST_LIFE_S:
        raise Usage("such a key lives for a week at most", "for example `--expires 1h`")
    document: dict[str, Any] = {
        "name": given.name, "grants": _grants(given), "expires_at": float(int(time.time() + given.expires)),
        "cidr": given.cidr,
    }  # fmt: skip
    try:
        caveat = Caveat.model_validate(document)
    except ValidationError as bad:
        raise Usage("; ".join(f"{one.path}: {one.message}" for one in faults_of(bad))) from None
    key = make(_key(session), caveat)
    if session.screen.json:
        session.screen.document({"key": key, "name": given.name, "expires_at": caveat.expires_at})
    else:
        session.screen.line(key)
    return DONE


def _parser() -> Parser:
    parser = Parser("keys attenuate", _ABOUT)
    parser.add_argument("name", help="what the sub-agent is called: it acts as `AGENT/NAME`")
    parser.add_argument("--operation", action="append", default=[], metavar="NAME", help="such as files.read, files.*")
    parser.add_argument("--path", action="append", default=[], metavar="PATTERN", help="such as /srv/app/**")
    parser.add_argument("--host", action="append", default=[], metavar="PATTERN", help="such as *.example.org:443")
    parser.add_argument("--grant", action="append", default=[], metavar="JSON", help="a whole grant; can be repeated")
    parser.add_argument("--cidr", action="append", default=[], metavar="NETWORK", help="it is good from there only")
    parser.add_argument("--expires", type=seconds, default=3600, metavar="TIME", help="such as 10m; 1h if not said")
    return parser


def _grants(given: Any) -> list[Any]:
    import json

    try:
        grants: list[Any] = [json.loads(one) for one in given.grant]
    except ValueError as bad:
        raise Usage(f"`--grant` takes JSON: {bad}") from None
    if given.operation:
        where = {"paths": given.path, "hosts": given.host}
        grants.append({"effect": "allow", "operations": given.operation, "where": where})
    elif given.path or given.host:
        raise Usage("`--path` and `--host` say where an `--operation` may be used", "add `--operation files.read`")
    if not grants:
        raise Usage("say what the key is for", "with `--operation`, or `--grant`")
    return grants


def _key(session: Session) -> str:
    from superagent.surfaces.cli.where import explicit_key

    key = explicit_key(getattr(session.given, "api_key_file", ""))
    if key is None:
        raise Usage("which key?", "give `--api-key-file FILE`, or set SUPERAGENT_API_KEY")
    return key.reveal()
