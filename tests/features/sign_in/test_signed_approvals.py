"""Approvals that a passkey signs: over exactly what was shown, by whose it is, and to be checked from the record."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor as untyped_cbor

from tests.features.sign_in.browser import Web
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.webauthn import Authenticator

cbor: Any = untyped_cbor
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _owner(house: House) -> tuple[Web, Authenticator]:
    """Give the owner's browser, signed in, with a passkey."""
    web = Web(house)
    await web.by_link()
    return web, await web.enrol_passkey()


async def _waits(agent: Caller, path: Path) -> str:
    """Let an agent ask for something of high risk."""
    response = await agent.call("files.delete", {"path": str(path)})
    assert response.status_code == 202, response.text
    return response.headers["x-invocation-id"]


async def _signs(web: Web, device: Authenticator, id: str, decision: str = "approve") -> dict[str, Any]:
    asked = await web.done("approvals.challenge", {"id": id, "decision": decision, "origin": web.origin})
    return {"response": device.get(asked["options"]), "origin": web.origin}


def checked(record: dict[str, Any], shown: dict[str, Any]) -> None:
    """Check a decision from its record and the format alone (docs/guide/approvals.md). Raises `InvalidSignature`."""
    detail, proof = record["detail"], record["detail"]["proof"]
    client, data = bytes.fromhex(proof["client_data"]), bytes.fromhex(proof["authenticator_data"])
    said = json.loads(client)
    word = f"superagent {detail['decision']} {record['invocation']} {detail['hash']}"
    challenge = base64.urlsafe_b64decode(said["challenge"] + "==")
    if (said["type"], challenge) != ("webauthn.get", hashlib.sha256(word.encode()).digest()):
        raise InvalidSignature
    assert detail["hash"] == shown["hash"]
    assert data[32] & 0x05 == 0x05  # present and verified
    key = cbor.decode(bytes.fromhex(proof["cose_public"]))
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(key[-2], "big"), int.from_bytes(key[-3], "big"), ec.SECP256R1()
    )
    signed = data + hashlib.sha256(client).digest()
    numbers.public_key().verify(bytes.fromhex(proof["signature"]), signed, ec.ECDSA(hashes.SHA256()))


@promise("11.12b")
async def test_high_risk_is_approved_by_the_passkey_of_whoever_has_one_and_the_record_proves_it(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent, file = await house.agent(), tmp_path / "file"
        file.write_text("x")
        web, device = await _owner(house)
        id = await _waits(agent, file)
        shown = await web.done("approvals.show", {"id": id})

        plain = await web.call("approvals.decide", {"id": id, "decision": "approve"})
        assert "approved with it" in problem_of(plain, 403, "denied")["detail"]
        assert (await house.records(invocation=plain.headers["x-invocation-id"]))[0]["problem"] == "denied"
        by_key = await house.owner.call("approvals.decide", {"id": id, "decision": "approve"})
        problem_of(by_key, 403, "denied")  # a stolen key approves nothing grave
        assert file.exists()

        signature = await _signs(web, device, id)
        decided = await web.done("approvals.decide", {"id": id, "decision": "approve", "signature": signature})

        assert decided["state"] == "running"
        await agent.get(f"/v1/invocations/{id}/events")
        assert not file.exists()
        (record,) = [one for one in await house.records(invocation=id) if one["kind"] == "approved"]
        checked(record, shown)
        record["detail"]["decision"] = "deny"
        with pytest.raises(InvalidSignature):
            checked(record, shown)


@promise("11.12b")
async def test_a_signature_over_anything_else_or_by_anybody_else_approves_nothing(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent, file = await house.agent(), tmp_path / "file"
        file.write_text("x")
        (tmp_path / "other").write_text("x")
        web, device = await _owner(house)
        id, other = await _waits(agent, file), await _waits(agent, tmp_path / "other")
        asked = await web.done("approvals.challenge", {"id": id, "decision": "approve", "origin": web.origin})
        good = {"response": device.get(asked["options"]), "origin": web.origin}
        stranger, lazy = (
            Authenticator(web.origin),
            Authenticator(web.origin, False, True, 9, device.credential, device.key),
        )
        away = Authenticator("http://evil.example", True, True, 9, device.credential, device.key)
        tried: list[dict[str, Any]] = [
            await _signs(web, device, other),
            await _signs(web, device, id, "deny"),
            {"response": stranger.get(asked["options"]), "origin": web.origin},
            {"response": lazy.get(asked["options"]), "origin": web.origin},
            {"response": away.get(asked["options"]), "origin": web.origin},
            {"response": away.get(asked["options"]), "origin": "http://evil.example"},
            {"response": good["response"][:-2] + "x}", "origin": web.origin},
            {"response": "{}", "origin": web.origin},
        ]
        for one in tried:
            refused = await web.call("approvals.decide", {"id": id, "decision": "approve", "signature": one})
            problem_of(refused, 403, "denied")
            records = await house.records(invocation=refused.headers["x-invocation-id"])
            assert records[0]["problem"] == "denied"
        for odd in ({}, {"response": 1, "origin": 2}, {"response": "x" * 20_000, "origin": web.origin}):
            refused = await web.call("approvals.decide", {"id": id, "decision": "approve", "signature": odd})
            problem_of(refused, 422, "invalid-input")
        assert file.exists()
        assert not [one for one in await house.records(invocation=id) if one["kind"] == "approved"]
        # taken once: its counter has moved on, and it names this one request
        done = await web.call("approvals.decide", {"id": other, "decision": "approve", "signature": good})
        problem_of(done, 403, "denied")


async def test_what_is_of_little_risk_and_every_denial_needs_no_signature(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent, file = await house.agent(), tmp_path / "file"
        file.write_text("x")
        web, _ = await _owner(house)
        low = await house.waiting_read(agent)
        await web.done("approvals.decide", {"id": low, "decision": "approve"})
        id = await _waits(agent, file)
        assert (await web.done("approvals.decide", {"id": id, "decision": "deny"}))["state"] == "cancelled"


@promise("11.12b")
async def test_the_page_shows_what_waits_and_takes_the_signature(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent, file = await house.agent(), tmp_path / "<b>file\u200cend"
        file.write_text("x")
        web, device = await _owner(house)
        id = await _waits(agent, file)

        listed = await web.get("/sign-in/approvals")
        assert f'href="/sign-in/approvals?id={id}"' in listed.text
        assert "path://local/" in listed.text  # what it touches, before it is opened
        page = await web.get(f"/sign-in/approvals?id={id}")
        assert 'data-step="approvals/passkey"' in page.text
        assert f'data-id="{id}" data-decision="approve"' in page.text
        assert r"&lt;b&gt;file\u200cend" in page.text
        assert "<b>file" not in page.text
        plain = await web.submit("/sign-in/approvals", decision="approve")
        assert plain.status_code == 403
        assert "approved with it" in plain.text

        about = {"id": id, "decision": "approve"}
        asked = (await web.script("/sign-in/approvals/passkey/ask", about)).json()
        answer = about | {"response": device.get(asked["options"])}
        forged = await web.script("/sign-in/approvals/passkey", answer, csrf="wrong")
        assert forged.status_code == 403
        assert file.exists()
        assert (await web.script("/sign-in/approvals/passkey", answer)).status_code == 200
        await agent.get(f"/v1/invocations/{id}/events")
        assert not file.exists()

        stranger = Web(house)
        away = await stranger.get(f"/sign-in/approvals?id={id}")
        assert "Sign in" in away.text
        assert id in away.text  # and back to it afterwards
        assert (await stranger.script("/sign-in/approvals/passkey/ask", about)).status_code in (401, 403, 404)
