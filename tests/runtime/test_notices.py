"""People learn that a call waits: over real HTTP and SMTP, with TLS, to the one place that the settings file names."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Status
from superagent.runtime import notices
from superagent.settings import load
from tests.features.test_approved_files import agent
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Names, leads, ok, site

NAMES = Names({"hook.test": ["127.0.0.1"], "mail.test": ["127.0.0.1"], "inner.test": ["10.0.0.1"]})
ASKS = [{"effect": "ask", "operations": ["files.write"]}]


class Box:
    """A mailbox behind an SMTP server, and who logged in."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.logins: list[tuple[str, str]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(cast("bytes", envelope.content))
        return "250 OK"

    def check(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        if isinstance(data, LoginPassword):
            self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"open sesame")


@asynccontextmanager
async def mail_server(box: Box, tls: ssl.SSLContext | None = None, *, at_once: bool = False) -> AsyncGenerator[int]:
    """Serve SMTP: with STARTTLS where there is a context, or with TLS from the first byte on."""

    def serve() -> SMTP:
        upgrade = None if at_once else tls
        return SMTP(
            box, hostname="mail.test", tls_context=upgrade, require_starttls=upgrade is not None,
            authenticator=box.check, auth_require_tls=False,
        )  # fmt: skip

    loop = asyncio.get_running_loop()
    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=tls if at_once else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def installation(data: Path, **notify: Any) -> AsyncGenerator[Installation]:
    data.mkdir()
    lines = [f"{name} = {json.dumps(value)}" for name, value in notify.items() if name not in ("ca_file", "private")]
    net = [f"allow_private = {json.dumps(notify.get('private', ['127.0.0.1/32']))}"]
    net += [f"ca_file = {json.dumps(notify['ca_file'])}"] if "ca_file" in notify else []
    (data / "superagent.toml").write_text("\n".join(["[notify]", *lines, "[net]", *net, ""]))
    async with open_installation(load(data, environ={}), resolve=NAMES) as here:
        if "webhook" in notify:  # the relay before the test's own server connects in this process as well
            here.network.guard.declare("127.0.0.1", 0)
        yield here


async def asks(here: Installation, name: str = "builder", content: str = "the secret plan") -> str:
    by = await agent(here, name=name, grants=ASKS)
    call = Call("files.write", {"path": "/srv/plan.txt", "content": content}, reason="as agreed\r\nBcc: eve@evil.test")
    waiting = await here.kernel.run(call, by, "http")
    assert waiting.status is Status.WAITING, waiting.problem
    return waiting.invocation


async def told(here: Installation, id: str, by: str) -> dict[str, Any]:
    """Wait for the record of how one way went."""
    async with asyncio.timeout(20):
        while True:
            found = (await here.index.query("default", operation="approvals.notify", limit=50))[0]
            mine = [one for one in found if one["detail"]["request"] == id and one["detail"]["by"] == by]
            if mine:
                return mine[0]
            await asyncio.sleep(0.02)


async def test_a_webhook_gets_one_document_for_each_request_and_no_input(tmp_path: Path) -> None:
    outside = Authority(tmp_path)
    async with site(ok(b"thanks"), outside.server("hook.test")) as there:
        hook = f"https://hook.test:{there.port}/in?key=1"
        async with installation(tmp_path / "data", webhook=hook, ca_file=str(outside.file)) as here:
            id = await asks(here)
            assert (await told(here, id, "webhook"))["status"] == "done"
            (asked,) = there.asked
            assert asked.line == "POST /in?key=1 HTTP/1.1"
            assert asked.header("content-type") == ["application/json"]
            said = json.loads(asked.body)
            assert (said["event"], said["id"], said["operation"]) == ("approval.waiting", id, "files.write")
            assert (said["requester"], said["on_behalf_of"]) == ("builder", ["owner"])
            assert said["resources"] == ["CHANGE path://local/srv/plan.txt"]
            assert b"secret plan" not in asked.body
            records = (await here.index.query("system", operation="egress.connection", limit=5))[0]
            assert len(records) == 1


@pytest.mark.parametrize("trouble", ["refuses", "redirects", "private", "nobody"])
async def test_a_webhook_that_does_not_take_it_is_asked_again_and_then_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(notices.Notices.__init__, "__defaults__", ((0.0, 0.01),))
    async with site(ok(b"stolen")) as other:
        reply = leads(f"http://hook.test:{other.port}/") if trouble == "redirects" else ok(b"no", status="500 No")
        async with site(reply) as there:
            name = "inner.test" if trouble == "private" else "hook.test"
            port = 9 if trouble == "nobody" else there.port
            async with installation(tmp_path / "data", webhook=f"http://{name}:{port}/") as here:
                record = await told(here, await asks(here), "webhook")
            assert record["status"] == "failed"
            assert record["detail"]["failed"]
            assert len(there.asked) == (3 if trouble in ("refuses", "redirects") else 0)
            assert other.asked == []


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
async def test_a_mail_says_who_asks_for_what_and_how_to_decide(tmp_path: Path, security: str) -> None:
    outside, box = Authority(tmp_path), Box()
    (tmp_path / "password").write_text("open sesame\n")
    context = None if security == "none" else outside.server("mail.test")
    async with mail_server(box, context, at_once=security == "tls") as port:
        given = {
            "smtp_host": "mail.test", "smtp_port": port, "smtp_security": security, "smtp_user": "robot",
            "smtp_password_file": str(tmp_path / "password"), "email_from": "agent@corp.test",
            "email_to": ["ada@corp.test", "bob@corp.test"], "ca_file": str(outside.file), "private": [],
        }  # fmt: skip
        async with installation(tmp_path / "data", **given) as here:
            id = await asks(here)
            record = await told(here, id, "e-mail")
            assert record["status"] == "done", record
    assert box.logins == [("robot", "open sesame")]
    (data,) = box.mails
    mail = message_from_bytes(data, policy=policy.default)
    assert mail["Subject"] == "Approval wanted: files.write by builder"
    assert mail["To"] == "ada@corp.test, bob@corp.test"
    assert mail["Bcc"] is None
    body = mail.get_content()
    assert f"superagent approvals approve {id}" in body
    assert "path://local/srv/plan.txt" in body
    assert b"secret plan" not in data


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["certificate", "password"])
async def test_no_mail_and_no_password_goes_to_a_server_that_is_not_the_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr(notices.Notices.__init__, "__defaults__", ((),))
    outside, stranger, box = Authority(tmp_path), Authority(tmp_path, "Other"), Box()
    (tmp_path / "password").write_text("wrong" if wrong == "password" else "open sesame")
    context = (stranger if wrong == "certificate" else outside).server("mail.test")
    async with mail_server(box, context) as port:
        given = {
            "smtp_host": "mail.test", "smtp_port": port, "smtp_user": "robot", "email_to": ["ada@corp.test"],
            "smtp_password_file": str(tmp_path / "password"), "ca_file": str(outside.file),
        }  # fmt: skip
        async with installation(tmp_path / "data", **given) as here:
            record = await told(here, await asks(here), "e-mail")
    assert record["status"] == "failed"
    assert "open sesame" not in json.dumps(record)
    assert box.mails == []
    assert box.logins == ([] if wrong == "certificate" else [("robot", "wrong")])


async def test_asking_again_tells_nobody_again(tmp_path: Path) -> None:
    async with (
        site(ok(b"thanks")) as there,
        installation(tmp_path / "data", webhook=f"http://hook.test:{there.port}/") as here,
    ):
        by = await agent(here, grants=ASKS)
        call = Call("files.write", {"path": "/srv/a", "content": "x"})
        waiting, *_ = [await here.kernel.run(call, by, "http") for _ in range(3)]
        await told(here, waiting.invocation, "webhook")
        other = await asks(here, "other")
        await told(here, other, "webhook")
        assert [json.loads(one.body)["id"] for one in there.asked] == [waiting.invocation, other]


async def test_a_flood_is_told_in_part_and_the_rest_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notices, "MOST", 1)
    async with (
        site(b"") as there,
        installation(tmp_path / "data", webhook=f"http://hook.test:{there.port}/") as here,
    ):
        by = await agent(here, grants=ASKS)
        waiting = await here.kernel.run(Call("files.write", {"path": "/srv/a", "content": "x"}), by, "http")
        held = await here.kernel.hands.work.get("default", waiting.invocation)
        assert held is not None
        for _ in range(3):
            here.kernel.bus.publish(notices.Waits(held))
        record = await told(here, waiting.invocation, "all")
        assert record["status"] == "failed"


@pytest.mark.parametrize("name", ["notify.webhook", "notify.smtp_host", "notify.email_to"])
async def test_only_the_settings_file_says_where_it_goes(tmp_path: Path, name: str) -> None:
    async with open_installation(load(tmp_path / "data", environ={})) as here:
        refused = await here.kernel.run(
            Call("settings.set", {"name": name, "value": "https://evil.test/"}), await here.owner(), "cli"
        )
        assert refused.problem is not None
