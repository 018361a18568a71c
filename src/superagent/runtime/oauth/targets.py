"""Targets: which protected resource a token is asked for (RFC 8707), which Authlib does not know yet."""

from __future__ import annotations

import json
from collections.abc import Mapping

from superagent.runtime.oauth.borrowed import OAuth2Error
from superagent.runtime.oauth.recognising import Standing
from superagent.runtime.oauth.site import Site


class InvalidTargetError(OAuth2Error):
    """The resource that was asked for is none of ours, or not one that was consented to."""

    error = "invalid_target"


def asked_for(fields: Mapping[str, str], site: Site, issuer: str) -> list[str]:
    """Give the resource that a first request names, the API when it names none. Raises `InvalidTargetError`."""
    named = fields.get("resource")
    if named is None:
        return [issuer]
    found = site.named(named)
    if not found:
        raise InvalidTargetError("there is no such resource here")
    return [found]


def narrowed(fields: Mapping[str, str], site: Site, given: Standing) -> list[str]:
    """Give the resources of a token among those consented to. Raises `InvalidTargetError`."""
    all_of_them: list[str] = json.loads(given.consent.audiences)
    named = fields.get("resource")
    if named is None:
        return all_of_them
    found = site.named(named)
    if found not in all_of_them:
        raise InvalidTargetError("this resource was not consented to")
    return [found]
