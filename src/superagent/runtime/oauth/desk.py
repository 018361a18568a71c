"""The desk of the authorization server: each request in one transaction, and afterwards what follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from superagent.core.audit import AuditRecord
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Fault, InvalidInput, NotFound
from superagent.core.records import Flood
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.oauth import credentials, redirects, server
from superagent.runtime.oauth.borrowed import InvalidRequestError, OAuth2Error
from superagent.runtime.oauth.clients import NO_TENANT, Client
from superagent.runtime.oauth.ledger import REFRESH_S, Event, Ledger
from superagent.runtime.oauth.server import Answer, Request, Server
from superagent.runtime.oauth.signing import SigningKeys
from superagent.runtime.oauth.site import Site
from superagent.runtime.oauth.tables import CONSENTS, DEVICE_FLOW, DEVICES
from superagent.runtime.shared_map import Epoch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What came of a transaction: a value, or an error in the words of OAuth."""

    value: T | None = None
    error: Any = None


class Desk:
    """What the endpoints of the authorization server do."""

    def __init__(
        self,
        database: Database,
        signing: SigningKeys,
        site: Site,
        epoch: Epoch,
        now: Callable[[], float],
        new_id: Callable[[], str],
        note: Callable[[AuditRecord], None],
    ) -> None:
        self._database = database
        self._signing = signing
        self._site = site
        self._epoch = epoch
        self._now = now
        self._new_id = new_id
        self._note = note
        self._flood = Flood()

    # ---- for programs

    async def token(self, origin: str, fields: Mapping[str, str], authorization: str) -> dict[str, Any]:
        """Answer at the token endpoint. Raises `InvalidInput`, as all of these do: see `refusal`."""
        return await self._answer(origin, fields, authorization, server.token)

    async def endpoint(self, name: str, origin: str, fields: Mapping[str, str], authorization: str) -> dict[str, Any]:
        """Answer at `revocation`, `introspection` or `device_authorization`."""
        return await self._answer(origin, fields, authorization, lambda ledger, it: server.endpoint(ledger, name, it))

    # ---- for people

    async def asked(
        self, origin: str, fields: Mapping[str, str], person: Principal, described: Client | None
    ) -> tuple[Client, str, str]:
        """Check a request for consent: (client, scopes, where the answer goes)."""

        def work(ledger: Ledger) -> tuple[Client, str, str]:
            grant = self._consent(ledger, Request(fields), person)
            return grant.request.client, grant.request.scope, grant.redirect_uri

        return await self._for_person(origin, fields, person, work, described)

    async def decided(
        self, origin: str, fields: Mapping[str, str], person: Principal, described: Client | None, allowed: bool
    ) -> str:
        """Give the address to which the person's browser goes with the answer."""

        def work(ledger: Ledger) -> str:
            request, server_ = Request(fields), Server(ledger)
            grant = self._consent(ledger, request, person, server_)
            answer: Answer = server_.create_authorization_response(request, person if allowed else None, grant)
            return answer.location

        return await self._for_person(origin, fields, person, work, described)

    def _consent(self, ledger: Ledger, request: Request, person: Principal, at: Server | None = None) -> Any:
        if redirects.fault_of(request.fields.get("redirect_uri", "")):
            raise InvalidRequestError("the request names no redirect address, or one that cannot be")
        grant = (at or Server(ledger)).get_consent_grant(request, person)
        if grant.request.client.tenant not in (NO_TENANT, person.tenant):
            raise InvalidRequestError("The client does not exist on this server.")
        return grant

    async def device(self, typed: str, person: Principal) -> dict[str, Any]:
        """Give what a device asks for by the code that a person typed in. Raises `NotFound`."""

        def work(ledger: Ledger) -> dict[str, Any]:
            row = self._waiting(ledger, typed, person)
            return {"client": row.client, "client_name": row.client_name, "scopes": row.scopes.split()}

        return await self._within("", work)

    async def decide_device(self, typed: str, person: Principal, allowed: bool) -> None:
        """Let a device act for a person, or not. Raises `NotFound`, `Conflict`."""

        def work(ledger: Ledger) -> None:
            row = self._waiting(ledger, typed, person)
            consent = ""
            if allowed:
                client = ledger.client(row.client)
                if client is None:
                    raise Conflict("this client was removed in the meantime")
                given = ledger.consent(
                    client, person.tenant, person.id, DEVICE_FLOW, row.scopes, json.loads(row.audiences), REFRESH_S
                )
                consent = given.consent.id
            state = "approved" if allowed else "denied"
            ledger.tx.update(
                DEVICES, DEVICES.c.digest == row.digest, state=state, approved_in=person.tenant, consent=consent
            )

        await self._within("", work)

    def _waiting(self, ledger: Ledger, typed: str, person: Principal) -> Any:
        row = ledger.tx.first(DEVICES, DEVICES.c.user_code == credentials.typed(typed), DEVICES.c.state == "waiting")
        if row is None or ledger.now >= row.expires_at or row.client_tenant not in (NO_TENANT, person.tenant):
            raise NotFound("no device waits with this code", hint="codes are good for ten minutes; start again there")
        return row

    async def end(self, tenant: str, consent: str, person: str, why: str) -> None:
        """End a consent; `person` is whose it must be, empty for anybody's. Raises `NotFound`."""

        def work(ledger: Ledger) -> None:
            mine = (CONSENTS.c.person == person,) if person else ()
            row = ledger.tx.first(CONSENTS, CONSENTS.c.tenant == tenant, CONSENTS.c.id == consent, *mine)
            if row is None:
                raise NotFound(f"there is no consent `{consent[:100]}`", hint="`access.consents.list` shows them")
            ledger.end(consent, why)

        await self._within("", work)

    # ---- how

    async def _answer(
        self,
        origin: str,
        fields: Mapping[str, str],
        authorization: str,
        work: Callable[[Ledger, Request], Answer],
    ) -> dict[str, Any]:
        request = Request(fields, authorization)
        shown = request.named_by_header
        try:
            if shown and (fields.get("client_secret") or fields.get("client_id", shown) != shown):
                # RFC 6749, 2.3: one way at a time, or two readers of this could each see another client
                raise InvalidRequestError("two ways of client authentication in one request")
            answer = await self._within(origin, lambda ledger: work(ledger, request))
        except OAuth2Error as error:
            answer = server.refused(error)
        if answer.status >= 400:
            # whom it was about, as far as that is known: a client that was recognised, else what it says of itself
            client: Client | None = request.client
            named = client.id if client is not None else (shown or fields.get("client_id", ""))[:300]
            tenant = client.tenant if client is not None and client.tenant != NO_TENANT else "system"
            self._refused(tenant, "anonymous", named, answer.body)
            raise refusal(answer.body)
        return answer.body

    async def _within(self, origin: str, work: Callable[[Ledger], T], described: Client | None = None) -> T:
        issuer = self._site.issuer(origin)
        kept: list[Ledger] = []

        def within(tx: InstanceTransaction) -> _Done[T]:
            ledger = Ledger(tx, self._signing, self._site, issuer, self._now(), self._new_id, described)
            kept.append(ledger)
            try:
                return _Done(work(ledger))
            except OAuth2Error as error:  # not raised in here: what was found out on the way is to stay
                return _Done(error=error)
            except ValueError:  # Authlib puts parts of a request into its words, and then refuses characters in them
                return _Done(error=InvalidRequestError())

        done = await self._database.write_instance(within)
        for ledger in kept:
            if ledger.ended:
                self._epoch.bump()
            for event in ledger.events:
                self._note(_record(event, self._now()))
        if done.error is not None:
            raise done.error
        return cast("T", done.value)

    async def _for_person(
        self,
        origin: str,
        fields: Mapping[str, str],
        person: Principal,
        work: Callable[[Ledger], T],
        described: Client | None,
    ) -> T:
        try:
            return await self._within(origin, work, described)
        except OAuth2Error as error:
            body = dict(error.get_body())
            self._refused(person.tenant, person.id, fields.get("client_id", "")[:300], body)
            answer = server.refused(error)
            back = f"{answer.location}&iss={quote(self._site.issuer(origin), safe='')}" if answer.location else ""
            raise refusal(body, back) from None

    def _refused(self, tenant: str, who: str, client: str, body: Mapping[str, Any]) -> None:
        """Record in the words of OAuth what was refused; of a flood the first few, the line records each call."""
        error, now = str(body.get("error")), self._now()
        first, _ = self._flood.admit((tenant, client, error), now)
        if first:
            detail = {"client": client, "why": error, "said": str(body.get("error_description", ""))[:300]}
            self._note(_record(Event(tenant, "oauth.refused", who, detail), now))


def refusal(body: Mapping[str, Any], location: str = "") -> InvalidInput:
    """Give an error of OAuth as a problem: its faults say what the protocol has, and where a browser goes with it."""
    error, description = str(body.get("error", "invalid_request")), str(body.get("error_description", ""))
    faults = [Fault("error", error)]
    faults += [Fault("error_description", description)] if description else []
    faults += [Fault("location", location)] if location else []
    return InvalidInput(f"{error}: {description}" if description else error, errors=faults)


def _record(event: Event, at: float) -> AuditRecord:
    return AuditRecord(
        kind="event", at=at, tenant=event.tenant, who=event.who, operation=event.what, detail=dict(event.detail)
    )
