"""Commands with a network: only by name, within settings, grants and call, each connection recorded."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.limits import Rate
from superagent.runtime.sandbox import run_network
from tests.needs import program
from tests.promise import promise
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, Site, ok, site
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
KNOWN = {name: ["127.0.0.1"] for name in ("a.test", "b.test", "api.test")} | {"inner.test": ["10.0.0.1"]}
TOKEN = "tok-8f1d6a5f0c2e4b7d9a3c"


@pytest.fixture(autouse=True)
def needed() -> None:
    for name in ("bwrap", "curl"):
        program(name)


def echoing(asked: Asked) -> bytes:
    """Answer with all that was asked, as a careless server does; in the words of a page if that was asked for."""
    text = "\n".join(asked.lines)
    return ok(("".join(f"&#{ord(one)};" for one in text) if "/page" in asked.line else text).encode())


@pytest_asyncio.fixture(loop_scope="session")
async def there(tmp_path: Path) -> AsyncGenerator[tuple[House, Site, Site]]:
    """Give a house whose commands may reach names of these tests, and two servers: plain, and with TLS."""
    authority = Authority(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    async with (
        site(ok(b"hello")) as plain,
        site(echoing, tls=authority.server("api.test")) as closed,
    ):
        (data / "superagent.toml").write_text(
            f'[net]\nallow_private = ["127.0.0.1/32"]\nca_file = "{authority.file}"\n'
            f'[sandbox]\nhosts = ["*.test:{plain.port}", "api.test:{closed.port}"]\n'
        )
        async with house_in(data, resolve=Names(KNOWN)) as house:
            yield house, plain, closed


async def agent(house: House, *hosts: str, **more: Any) -> Caller:
    """Give an agent that may run commands and reach these hosts."""
    where: dict[str, Any] = {"paths": ["{workspace}/**"], "hosts": list(hosts), **more}
    folder = str((await house.agent()).workspace)
    grants = [{"effect": "allow", "operations": ["shell.*"], "where": where}]
    return await house.agent(workspace=folder, grants=grants)


async def curl(caller: Caller, *args: str, **input: Any) -> dict[str, Any]:
    given = {"argv": ["curl", "-sS", "--max-time", "10", *args], "sandbox": "net-allowlist", **input}
    return await caller.done("shell.exec", given)


@promise("1.3c")
async def test_a_command_reaches_what_settings_grants_and_call_all_allow_and_nothing_else(
    there: tuple[House, Site, Site],
) -> None:
    house, plain, _ = there
    # each of whom is an agent of its own: what a command hears of other machines is untrusted text
    granted, called_by, inner_by = [await agent(house, f"*.test:{plain.port}") for _ in range(3)]
    narrow = await agent(house, f"b.test:{plain.port}")

    response = await granted.call(
        "shell.run", {"command": f"curl -sS http://a.test:{plain.port}/x > got; cat got", "sandbox": "net-allowlist"}
    )
    other = await curl(narrow, f"http://a.test:{plain.port}/")
    called = await curl(called_by, f"http://a.test:{plain.port}/", network=[f"b.test:{plain.port}"])
    beyond = await curl(granted, "http://a.test:80/")
    inner = await curl(inner_by, f"http://inner.test:{plain.port}/")

    outcome = response.json()
    assert response.status_code == 200, outcome
    output = outcome["output"]
    assert output["stdout"] == "hello"
    assert outcome["isolation"]["network"] == "listed"
    assert output["outside"] == "possible"
    assert output["network"]["hosts"] == [f"a.test:{plain.port}"]
    assert (output["network"]["connections"], output["network"]["refused"]) == (1, 0)
    assert output["changes"]["applied"] is True
    assert plain.connections == 1
    for refused, why in (
        (other, "no grant reaches it"),
        (called, "`network` of the call does not name it"),
        (beyond, "`sandbox.hosts` does not reach it"),
    ):
        assert refused["network"]["denials"][0]["why"] == why
        assert why in refused["stdout"]
        assert (refused["network"]["connections"], refused["network"]["refused"]) == (0, 1), refused
        assert refused["network"]["denials"][0]["place"].startswith("a.test:")
        assert refused["outside"] == "none"
    assert "private" in inner["network"]["denials"][0]["why"]
    crossed = await house.records(operation="egress.connection")
    assert [(one["invocation"], one["detail"]["sent"], one["detail"]["received"]) for one in crossed] == [
        (response.headers["x-invocation-id"], plain.received, plain.sent)
    ]
    assert len(await house.records(operation="egress.refused")) == 4


@promise("1.3c")
async def test_a_host_that_is_named_is_judged_before_anything_runs(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    narrow = await agent(house, f"b.test:{plain.port}")
    grants = [
        {"effect": "allow", "operations": ["shell.*"], "where": {"paths": ["{workspace}/**"]}},
        {"effect": "ask", "operations": ["shell.*"], "where": {"hosts": [f"a.test:{plain.port}"]}},
    ]
    asking = await house.agent(workspace=str((await house.agent()).workspace), grants=grants)
    input = {"command": "echo ran > ran", "sandbox": "net-allowlist", "network": [f"a.test:{plain.port}"]}

    refused = await narrow.call("shell.run", input)
    waits = await asking.call("shell.run", input)

    assert "`grants.request` asks a person" in problem_of(refused, 404, "not-found")["hint"]
    assert (await house.records(invocation=refused.headers["x-invocation-id"]))[0]["kind"] == "refused"
    assert waits.status_code == 202
    assert not list(house.data.rglob("ran"))


@promise("1.3c")
async def test_people_approve_the_hosts_that_were_named_and_no_others(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    grants = [
        {"effect": "allow", "operations": ["shell.*"], "where": {"paths": ["{workspace}/**"]}},
        {"effect": "ask", "operations": ["shell.*"], "where": {"hosts": ["*.test"]}},
    ]
    asking = await house.agent(workspace=str((await house.agent()).workspace), grants=grants)
    fetch = f"curl -sS http://a.test:{plain.port}/; curl -sS http://b.test:{plain.port}/"
    network = [f"a.test:{plain.port}", "*.test"]

    waits = await asking.call("shell.run", {"command": fetch, "sandbox": "net-allowlist", "network": network})
    id = waits.headers["x-invocation-id"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})

    found: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while found.get("status") not in ("done", "failed"):
            await asyncio.sleep(0.05)
            found = (await asking.get(f"/v1/invocations/{id}")).json()
    assert found["status"] == "done", found
    output = found["outcome"]["output"]
    assert output["stdout"].startswith("hello"), found
    assert output["network"]["hosts"] == [f"a.test:{plain.port}"]
    assert output["network"]["denials"][0]["place"] == f"b.test:{plain.port}"


async def test_methods_are_held_where_requests_can_be_read(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    granted = await agent(house, f"*.test:{plain.port}")
    rule = [f"GET a.test:{plain.port}"]

    # another one writes: whoever has read what a stranger's host says is asked about before it sends anything
    writer = await agent(house, f"*.test:{plain.port}")

    read = await curl(granted, f"http://a.test:{plain.port}/", network=rule)
    written = await curl(writer, "-d", "x=1", f"http://a.test:{plain.port}/", network=rule)

    assert read["stdout"] == "hello"
    assert written["network"]["refused"] == 1
    assert [one.line.split()[0] for one in plain.asked] == ["GET"]


@promise("1.3c")
async def test_a_connections_credential_is_added_outside_and_never_comes_in(there: tuple[House, Site, Site]) -> None:
    house, _, closed = there
    await house.owner.done("secrets.put", {"name": "api-token", "value": TOKEN})
    url = f"https://api.test:{closed.port}"
    await house.owner.done(
        "connections.create", {"name": "api", "type": "http", "endpoint": url, "secret": "api-token"}
    )
    may = await agent(house, f"api.test:{closed.port}", connections=["api"])
    other = await agent(house, f"api.test:{closed.port}")
    script = f"curl -sS {url}/ | tee got; env; cat /proc/self/environ /run/egress/*.py"

    output = await may.done(
        "shell.run", {"command": script, "sandbox": "net-allowlist", "connections": ["api"], "network": []}
    )
    refused = await other.call("shell.run", {"command": "true", "sandbox": "net-allowlist", "connections": ["api"]})

    assert [one.header("authorization") for one in closed.asked] == [[f"Bearer {TOKEN}"]]
    assert "Authorization: ****" in output["stdout"]
    assert output["network"]["opened"] == [f"api.test:{closed.port}"]
    assert TOKEN not in json.dumps(output)
    assert TOKEN not in (may.workspace / "got").read_text()
    problem_of(refused, 404, "not-found")
    used = await house.records(operation="secrets.resolve")
    assert used[0]["detail"]["by"] == "shell.run"


async def test_a_connection_whose_credential_would_never_be_added_is_refused(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    await house.owner.done("secrets.put", {"name": "api-token", "value": TOKEN})
    made = {"name": "api", "type": "http", "endpoint": f"http://localhost:{plain.port}", "secret": "api-token"}
    await house.owner.done("connections.create", made)
    may = await agent(house, f"localhost:{plain.port}", connections=["api"])
    input = {"command": "echo ran > ran", "sandbox": "net-allowlist", "connections": ["api"]}

    refused = await may.call("shell.run", input)

    assert "plain HTTP" in problem_of(refused, 422, "invalid-input")["detail"]
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert [one["kind"] for one in records if one["operation"] == "shell.run"] == ["outcome", "intent"]
    assert not (may.workspace / "ran").exists()
    assert await house.records(operation="secrets.resolve") == []


async def test_a_credential_that_a_server_spells_otherwise_is_in_no_output_however_long(
    there: tuple[House, Site, Site],
) -> None:
    house, _, closed = there
    await house.owner.done("secrets.put", {"name": "api-token", "value": TOKEN})
    url = f"https://api.test:{closed.port}"
    await house.owner.done(
        "connections.create", {"name": "api", "type": "http", "endpoint": url, "secret": "api-token"}
    )
    may = await agent(house, f"api.test:{closed.port}", connections=["api"])

    output = await curl(may, f"{url}/page", connections=["api"], network=[], max_output_bytes=10)

    stored = await may.get(f"/v1/results/{output['stdout_handle']}/raw")
    assert "*" * len(TOKEN) in stored.text  # overwritten on the way in already: no file of the command holds it either
    assert TOKEN not in html.unescape(stored.text)


async def test_build_has_the_network_too_and_a_rehearsal_has_none(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    granted = await agent(house, f"*.test:{plain.port}")
    argv = ["curl", "-sS", "--max-time", "5", "-o", "got", f"http://a.test:{plain.port}/"]

    response = await granted.call("shell.exec", {"argv": argv, "sandbox": "build"})
    rehearsed = await granted.call("shell.exec", {"argv": argv, "sandbox": "build"}, x_dry_run="true")

    outcome = response.json()
    assert (granted.workspace / "got").read_text() == "hello"
    assert outcome["isolation"]["limits"]["disk"] == "none"  # more than it may have as memory
    assert rehearsed.json()["isolation"]["network"] == "off"
    assert plain.connections == 1


@pytest.mark.parametrize(
    ("input", "slug"),
    [
        ({"sandbox": "workspace-write", "network": ["a.test:80"]}, "invalid-input"),
        ({"sandbox": "net-allowlist", "network": ["http://a.test/"]}, "invalid-input"),
        ({"sandbox": "net-allowlist", "network": ["get a.test:80"]}, "invalid-input"),
        ({"sandbox": "net-allowlist", "network": ["GET a.test:80 raw"]}, "invalid-input"),
        ({"sandbox": "net-allowlist", "network": [""]}, "invalid-input"),
        ({"sandbox": "danger-none"}, "sandbox-unavailable"),
    ],
)
async def test_a_network_that_makes_no_sense_is_refused(house: House, input: dict[str, Any], slug: str) -> None:
    response = await house.owner.call("shell.run", {"command": "true", **input})

    problem_of(response, 503 if slug == "sandbox-unavailable" else 422, slug)
    assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["problem"] == slug


async def test_nothing_of_a_network_is_left(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    granted = await agent(house, f"*.test:{plain.port}")

    await curl(granted, f"http://a.test:{plain.port}/")
    await granted.call("shell.exec", {"argv": ["sleep", "30"], "sandbox": "net-allowlist", "timeout_s": 0.3})

    folder = next((house.data / "state" / "sandbox").glob("egress-*"))
    assert not list(folder.iterdir())


@promise("1.3c")
async def test_what_is_taken_away_while_a_command_runs_ends_and_is_recorded(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    granted = await agent(house, f"*.test:{plain.port}")
    url = f"http://a.test:{plain.port}/"
    # one connection that stays open, and new ones until one is refused
    script = f"""
        python3 -c 'import http.client, time
c = http.client.HTTPConnection("127.0.0.1", 3128)
c.set_tunnel("a.test", {plain.port})
c.request("GET", "/"); print(c.getresponse().read())
try:
    for _ in range(300):
        time.sleep(0.09); c.request("GET", "/"); c.getresponse().read()
except Exception as bad: print("ended")' > open.txt &
        for i in $(seq 300); do curl -sf -o /dev/null {url} || break; touch seen; sleep 0.1; done
        echo "stopped after $i"; wait; cat open.txt
    """
    calling = asyncio.ensure_future(granted.call("shell.run", {"command": script, "sandbox": "net-allowlist"}))
    await until_async(lambda: len(plain.asked) > 3, "some requests")

    await house.owner.done(
        "grants.create",
        {"grant": {"effect": "deny", "operations": ["shell.*"], "subject": "*", "where": {"hosts": ["a.test"]}}},
    )

    output = (await calling).json()["output"]
    stopped = int(output["stdout"].split()[2])
    assert 1 < stopped < 300
    assert "ended" in output["stdout"], output
    assert output["network"]["refused"] >= 1
    assert await house.records(operation="egress.refused")


# ---- sessions


async def fetched(caller: Caller, session: str, url: str) -> str:
    input = {"session": session, "input": f"curl -sS --max-time 10 {url}; echo :en''d\n", "wait_for": ":end"}
    said = await caller.done("shell.session_send", {**input, "timeout_s": 30})
    assert said["at"] == "match", said
    return str(said["text"])


@promise("1.3c")
async def test_a_session_reaches_what_is_granted_and_each_connection_is_on_record(
    there: tuple[House, Site, Site],
) -> None:
    house, plain, _ = there
    granted = await agent(house, f"a.test:{plain.port}")
    opened = await granted.done("shell.session_open", {"sandbox": "net-allowlist"})

    assert "hello" in await fetched(granted, opened["session"], f"http://a.test:{plain.port}/")
    refused = await fetched(granted, opened["session"], f"http://b.test:{plain.port}/")
    direct = await fetched(granted, opened["session"], f"--noproxy '*' http://127.0.0.1:{plain.port}/")
    assert "hello" not in refused + direct
    done = await granted.done("shell.session_close", {"session": opened["session"]})

    assert (done["network"]["hosts"], done["network"]["connections"]) == ([f"a.test:{plain.port}"], 1)
    assert done["outside"] == "possible"
    assert [one["place"] for one in done["network"]["denials"]] == [f"b.test:{plain.port}"]
    crossed = await house.records(operation="egress.connection")
    assert [(one["who"], one["detail"]["received"]) for one in crossed] == [(granted.name, plain.sent)]
    assert len(await house.records(operation="egress.refused")) == 1


async def test_a_session_loses_its_network_with_the_grant_and_its_gate_with_its_end(
    there: tuple[House, Site, Site],
) -> None:
    house, plain, _ = there
    granted = await agent(house, "*.test:*")
    opened = await granted.done("shell.session_open", {"sandbox": "net-allowlist", "network": [f"a.test:{plain.port}"]})
    assert "hello" not in await fetched(granted, opened["session"], f"http://b.test:{plain.port}/")
    assert "hello" in await fetched(granted, opened["session"], f"http://a.test:{plain.port}/")

    deny = {"effect": "deny", "operations": ["shell.*"], "where": {"hosts": ["a.test:*"]}, "subject": "role:owner"}
    made = await house.owner.done("grants.create", {"grant": deny})
    assert "hello" not in await fetched(granted, opened["session"], f"http://a.test:{plain.port}/")
    await house.owner.done("grants.revoke", {"id": made["id"]})

    await granted.done("shell.session_close", {"session": opened["session"]})
    assert not list((house.data / "state" / "sandbox").glob("egress-*/*"))


async def test_a_connection_of_a_session_is_added_on_the_way_and_never_shown(there: tuple[House, Site, Site]) -> None:
    house, _, closed = there
    await house.owner.done("secrets.put", {"name": "api-token", "value": TOKEN})
    url = f"https://api.test:{closed.port}"
    made = {"name": "api", "type": "http", "endpoint": url, "secret": "api-token"}
    await house.owner.done("connections.create", made)
    granted = await agent(house, f"api.test:{closed.port}", connections=["api"])
    opened = await granted.done("shell.session_open", {"sandbox": "net-allowlist", "connections": ["api"]})

    said = await fetched(granted, opened["session"], f"{url}/page")  # which spells it in the words of HTML
    assert [one.header("authorization") for one in closed.asked] == [[f"Bearer {TOKEN}"]]
    assert "*" * len(TOKEN) in said
    later = await granted.done("shell.session_read", {"session": opened["session"]})
    assert "*" * len(TOKEN) in later["text"]
    assert TOKEN not in html.unescape(said + later["text"])
    await granted.done("shell.session_close", {"session": opened["session"]})


async def test_an_interpreter_has_the_network_that_it_was_opened_with(there: tuple[House, Site, Site]) -> None:
    house, plain, _ = there
    where = {"paths": ["{workspace}/**"], "hosts": [f"a.test:{plain.port}"]}
    folder = str((await house.agent()).workspace)
    allow = {"effect": "allow", "operations": ["code.*", "shell.*"], "where": where}
    granted = await house.agent(workspace=folder, grants=[allow])
    code = "import urllib.request as r; r.urlopen('http://NAME.test:PORT/').read().decode()"
    code = code.replace("PORT", str(plain.port))

    done = await granted.done("code.repl", {"code": code.replace("NAME", "a"), "sandbox": "net-allowlist"})
    assert done["value"]["json"] == "hello"
    again = await granted.done("code.repl", {"code": code.replace("NAME", "b"), "session": done["session"]})
    assert again["error"]["type"] == "HTTPError"
    closed = await granted.done("shell.session_close", {"session": done["session"]})
    assert closed["network"]["connections"] == 1


@pytest.mark.parametrize("by", ["a command", "a session"])
async def test_what_other_machines_said_marks_who_reads_it_also_where_no_host_was_named(
    there: tuple[House, Site, Site], by: str
) -> None:
    house, plain, _ = there
    caller = await agent(house, f"*.test:{plain.port}")
    line = f"curl -sS --max-time 10 http://a.test:{plain.port}/ | tee got"

    if by == "a command":
        told = await caller.call("shell.run", {"command": line, "sandbox": "net-allowlist"})
    else:
        session = (await caller.done("shell.session_open", {"sandbox": "net-allowlist"}))["session"]
        told = await caller.call("shell.session_send", {"session": session, "input": f"{line}\n", "timeout_s": 20})

    assert told.status_code == 200, told.text
    assert "hello" in told.text
    source = f"host://-/a.test:{plain.port}"
    assert told.json()["provenance"] == {"trust": "untrusted", "source": source}
    marks = (await house.owner.done("access.taint.list"))["marks"]
    mine = {
        one["subject"] for one in marks if one["source"] == source and one["invocation"] == told.json()["invocation"]
    }
    assert f"caller:{caller.name}" in mine
    if by == "a command":  # it left in the workspace what others may take for the platform's own
        assert f"place:{caller.workspace}" in mine


@pytest.mark.parametrize("network", [None, ["*.test:*"]])
async def test_after_untrusted_text_a_command_sends_to_no_host_that_a_person_has_not_approved(
    there: tuple[House, Site, Site], network: list[str] | None
) -> None:
    house, plain, _ = there
    caller = await agent(house, f"*.test:{plain.port}")
    sends = {"argv": ["curl", "-sS", "--max-time", "10", "-d", "secret", f"http://a.test:{plain.port}/"]}
    await caller.done("access.taint.note", {"source": "a page in a browser"})

    ran = await caller.done("shell.exec", {**sends, "sandbox": "net-allowlist", "network": network})
    named = await caller.call("shell.exec", {**sends, "sandbox": "net-allowlist", "network": [f"a.test:{plain.port}"]})

    assert (ran["network"]["connections"], ran["network"]["refused"]) == (0, 1), ran
    assert plain.connections == 0
    assert ran["network"]["denials"][0]["place"] == f"a.test:{plain.port}"
    assert len(await house.records(operation="egress.refused")) == 1
    assert named.status_code == 202, named.text  # a person sees where it sends, and can approve that
    await house.owner.done("approvals.decide", {"id": named.headers["x-invocation-id"], "decision": "approve"})
    await house.owner.done("jobs.wait", {"ids": [named.headers["x-invocation-id"]], "timeout_s": 30})
    assert plain.connections == 1


FLOOD = """
import socket, sys, threading, time
end = time.monotonic() + 2
def ask():
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", 3128)) as sock:
            sock.settimeout(end + 0.1 - time.monotonic())
            sock.sendall(b"GET http://%s/ HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % ((sys.argv[1].encode(),) * 2))
            try:
                sock.recv(1000)
            except OSError:
                return
threads = [threading.Thread(target=ask) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
"""


async def test_however_fast_connections_come_their_records_do_not(
    there: tuple[House, Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, plain, _ = there
    monkeypatch.setattr(run_network, "CONNECTIONS", Rate(per_s=2.0, burst=10))
    host = f"a.test:{plain.port}"
    caller = await agent(house, host)
    lent = await caller.done("access.delegate", {"name": f"{caller.name}-sub"})

    async def flood(by: Caller) -> int:
        given = {"argv": ["python3", "-c", FLOOD, host], "sandbox": "net-allowlist"}
        return (await by.done("shell.exec", given))["network"]["connections"]

    # eight at a time: those that have their turn when the command ends may still be on their way
    assert 10 <= await flood(caller) <= 10 + 2 * 3 + 8
    assert await flood(house.caller(lent["agent"], lent["key"])) <= 2 * 4 + 8
    assert len(await house.records(operation="egress.connection")) <= 10 + 2 * 7 + 16
