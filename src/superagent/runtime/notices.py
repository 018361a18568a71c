"""Notices: tell people by webhook and e-mail that a call waits; what is sent names the call, never its input."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol

import msgspec

from superagent.core.approvals import Waits
from superagent.core.audit import AuditRecord
from superagent.core.endpoints import Endpoint
from superagent.core.ports import Held
from superagent.core.problems import Problem
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.guard import permitting
from superagent.runtime.net.network import Network
from superagent.runtime.net.posting import TIMEOUT_S, Posting
from superagent.settings import Notify

MOST = 200
AGAIN_AFTER_S = (1.0, 10.0, 60.0)


class Tells(Protocol):
    """A way to tell people."""

    async def tell(self, held: Held) -> None:
        """Tell them of one request. Raises a problem, or `OSError`."""
        ...


class Notices:
    """Tell of what begins to wait, by every way, in the background; what does not arrive is tried again."""

    def __init__(
        self,
        ways: dict[str, Tells],
        note: Callable[[AuditRecord], None],
        now: Callable[[], float],
        again_after_s: Sequence[float] = AGAIN_AFTER_S,
    ) -> None:
        self._ways = ways
        self._note = note
        self._now = now
        self._again_after_s = tuple(again_after_s)
        self._waiting: asyncio.Queue[Held] = asyncio.Queue(MOST)

    def heard(self, event: object) -> None:
        """Hear of everything on the bus, and remember what waits."""
        if not self._ways or not isinstance(event, Waits):
            return
        try:
            self._waiting.put_nowait(event.held)
        except asyncio.QueueFull:
            self._record(event.held, "all", f"more than {MOST} wait to be told")

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Tell people while the body runs; what is not told by its end is not told."""
        work = asyncio.create_task(self._keep_telling()) if self._ways else None
        try:
            yield
        finally:
            if work is not None:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _keep_telling(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                held = await self._waiting.get()
                for name, way in self._ways.items():
                    group.create_task(self._tell(held, name, way))

    async def _tell(self, held: Held, name: str, way: Tells) -> None:
        trouble = ""
        for wait_s in (*self._again_after_s, None):
            try:
                await way.tell(held)
            except (Problem, OSError, smtplib.SMTPException) as fault:
                trouble = str(fault)[:300] or type(fault).__name__
            else:
                self._record(held, name)
                return
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        self._record(held, name, trouble)

    def _record(self, held: Held, way: str, failed: str = "") -> None:
        detail = {"request": held.id, "by": way} | ({"failed": failed} if failed else {})
        record = AuditRecord(
            kind="event", at=self._now(), tenant=held.tenant, operation="approvals.notify", detail=detail,
            status="failed" if failed else "done",
        )  # fmt: skip
        with suppress(Problem):
            self._note(record)


def document(held: Held) -> dict[str, Any]:
    """Give what is told of a request: enough to know whether to look, nothing that only deciders may see."""
    call = held.invocation
    return {
        "event": "approval.waiting",
        "id": held.id,
        "tenant": held.tenant,
        "operation": call.call.operation,
        "inside": held.inside.operation if held.inside else None,
        "requester": call.principal.id,
        "on_behalf_of": list(call.principal.ids[1:]),
        "reason": call.call.reason[:1000],
        "resources": list(held.resources[:20]),
        "untrusted": held.tainted or None,
        "approvals_needed": held.approvals_needed,
        "until": held.until,
    }


class Webhook:
    """Post a JSON document to an address, through the vetted client; redirects are not followed."""

    def __init__(self, url: str, network: Network) -> None:
        self._posting = Posting(url, network)

    async def tell(self, held: Held) -> None:
        """Post it. Raises what the client raises, and `Unavailable` for an answer that is no success."""
        await self._posting.post(msgspec.json.encode(document(held)))


class Mail:
    """Send a mail by SMTP (RFC 5321), in a thread. Only the settings file names the server, so it may be private."""

    def __init__(self, settings: Notify, network: Network) -> None:
        self._settings = settings
        self._network = network
        self._endpoint = Endpoint.of_authority(f"{settings.smtp_host}:{settings.smtp_port}")

    async def tell(self, held: Held) -> None:
        """Send it. Raises `smtplib.SMTPException`, `OSError`, `Unavailable` when the server has no address."""
        addresses = await Dialer(self._network.resolve, lambda address: True).addresses(self._endpoint)
        trust = None if self._settings.smtp_security == "none" else self._network.trust
        await asyncio.to_thread(self._send, str(addresses[0]), trust, self._message(held))

    def _message(self, held: Held) -> EmailMessage:
        told = document(held)
        message = EmailMessage()
        message["Subject"] = f"Approval wanted: {told['operation']} by {told['requester']}"
        message["From"] = self._settings.email_from
        message["To"] = ", ".join(self._settings.email_to)
        until = datetime.fromtimestamp(held.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        behalf = ", ".join(told["on_behalf_of"]) or "nobody else"
        lines = [
            f"{told['requester']} asks to run {told['operation']}, on behalf of {behalf}.",
            f"Reason given (not verified): {told['reason'] or 'none'}",
            *(f"Touches: {one}" for one in told["resources"]),
            *([f"It has read untrusted text: {told['untrusted']}"] if told["untrusted"] else []),
            f"Approvals needed: {told['approvals_needed']}. It waits until {until}.",
            "",
            f"Look:    superagent approvals show {held.id}",
            f"Decide:  superagent approvals approve {held.id}",
        ]
        message.set_content("\n".join(lines) + "\n")
        return message

    def _send(self, address: str, trust: ssl.SSLContext | None, message: EmailMessage) -> None:
        settings = self._settings
        with permitting((address, settings.smtp_port)):
            tls = trust if settings.smtp_security == "tls" else None
            made = _Smtp(settings.smtp_host, settings.smtp_port, address, tls)
        with made as smtp:
            if trust is not None and settings.smtp_security == "starttls":
                smtp.starttls(context=trust)
            if settings.smtp_user:
                smtp.login(settings.smtp_user, Path(settings.smtp_password_file).read_text("utf-8").strip())
            smtp.send_message(message)


class _Smtp(smtplib.SMTP):
    """SMTP to an address that was looked up before, with TLS for the name where there is a context."""

    def __init__(self, host: str, port: int, address: str, tls: ssl.SSLContext | None) -> None:
        self._at = address
        self._tls = tls
        super().__init__(host, port, local_hostname="localhost", timeout=TIMEOUT_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._at, port), timeout)
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=host)


def ways_of(settings: Notify, network: Network) -> dict[str, Tells]:
    """Give the ways that the settings name."""
    ways: dict[str, Tells] = {}
    if settings.webhook:
        ways["webhook"] = Webhook(settings.webhook, network)
    if settings.smtp_host and settings.email_to:
        ways["e-mail"] = Mail(settings, network)
    return ways
