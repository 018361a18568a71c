"""The authorization server: Authlib's, with what it leaves to its user, over the ledger of one request.

Everything here is synchronous: it runs in the database's own thread, within one transaction, so that a code or a
refresh token is looked at, spent and answered in one step that no other request can come between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from superagent.core.scopes import scopes_of
from superagent.runtime.oauth.borrowed import (
    AuthorizationServer,
    InvalidScopeError,
    IssuerParameter,
    OAuth2Request,
    Payload,
    extract_basic_authorization,
)
from superagent.runtime.oauth.clients import Client
from superagent.runtime.oauth.flows import (
    S256,
    Codes,
    Devices,
    DeviceStart,
    Introspection,
    Refreshes,
    Revocation,
    Services,
    Targets,
)
from superagent.runtime.oauth.ledger import Ledger
from superagent.runtime.oauth.recognising import Standing


@dataclass(slots=True)
class Answer:
    """What goes back: an HTTP status, a JSON body, headers, and where a browser is sent to instead."""

    status: int
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    location: str = ""


class Request(OAuth2Request):
    """A request as Authlib sees it; that it came over TLS or from this machine is the door's business."""

    def __init__(self, fields: Mapping[str, str], authorization: str = "") -> None:
        headers = {"Authorization": authorization} if authorization else {}
        OAuth2Request.__init__(self, "POST", "https://-/", headers=headers)
        self.fields = dict(fields)
        self.payload = Payload(self.fields)
        self.standing: Standing | None = None

    @property
    def named_by_header(self) -> str:
        """Give the client that `Authorization: Basic` names, empty for none; whether that holds is another matter."""
        try:
            return extract_basic_authorization(self.headers)[0] or ""
        except ValueError:  # no base64, or no UTF-8 in it
            return ""

    @property
    def args(self) -> dict[str, str]:
        """Give the parameters."""
        return self.fields

    @property
    def form(self) -> dict[str, str]:
        """Give the parameters."""
        return self.fields


class Server(AuthorizationServer):
    """Authlib's server over one ledger; made for each request, which costs some microseconds."""

    def __init__(self, ledger: Ledger) -> None:
        AuthorizationServer.__init__(self)
        self.ledger = ledger
        self.register_grant(Codes, [S256(required=True), Targets()])
        for flow in (Refreshes, Services, Devices):
            self.register_grant(flow)
        for endpoint in (Revocation, Introspection, DeviceStart):
            self.register_endpoint(endpoint)
        _Issuer(ledger.issuer)(self)

    # ---- what Authlib leaves to its user

    def query_client(self, client_id: str) -> Client | None:
        """Find a client."""
        return self.ledger.client(client_id)

    def save_token(self, token: dict[str, Any], request: Request) -> None:
        """Do nothing: what is kept of tokens was written when they were made."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Note when a client showed who it is."""
        if name == "after_authenticate_client":
            self.ledger.used(kwargs["client"])

    def create_oauth2_request(self, request: Request) -> Request:
        """Give the request: it is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        """Give the answer as plain data."""
        return _plain(status, body, headers)

    def validate_requested_scope(self, scope: str | None) -> None:
        """Refuse what is no scope."""
        try:
            scopes_of(scope or "")
        except ValueError:
            raise InvalidScopeError from None


class _Issuer(IssuerParameter):
    """Who answered, in every response that goes through a browser (RFC 9207)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        """Give us as the browser knows us."""
        return self._issuer


def token(ledger: Ledger, request: Request) -> Answer:
    """Answer at the token endpoint (RFC 6749, 3.2)."""
    return Server(ledger).create_token_response(request)


def endpoint(ledger: Ledger, name: str, request: Request) -> Answer:
    """Answer at `revocation`, `introspection` or `device_authorization`."""
    return Server(ledger).create_endpoint_response(name, request)


def refused(error: Any) -> Answer:
    """Give an error as an answer."""
    return _plain(*error())


def _plain(status: int, body: Any, headers: Any) -> Answer:
    named: dict[str, str] = dict(headers or [])
    found = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return Answer(status, found, named, named.pop("Location", ""))
