"""The capability `net`: judged by name, vetted by address, pinned, capped, and each connection in the audit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, leads, listening, ok, site
from tests.runtime.net.web import BY, egress, refused, world

ONE = Names({"a.test": ["127.0.0.1"]})
TWO = {"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}


async def test_a_page_is_fetched_by_name_and_the_connection_recorded_to_the_byte() -> None:
    async with site(ok(b"hello")) as there, world(ONE, "a.test") as here:
        outcome = await here.run("web.get", {"url": f"http://a.test:{there.port}/x?y=z#w"}, by=BY)
        assert outcome.result() == {"status": 200, "body": "hello", "url": f"http://a.test:{there.port}/x?y=z#w"}
        assert there.asked[0].line == "GET /x?y=z HTTP/1.1"
        assert there.asked[0].header("host") == [f"a.test:{there.port}"]
        [(resource, detail)] = egress(here, "connection")
        assert resource == f"host://-/a.test:{there.port}"
        assert (detail["address"], detail["by"], detail["inside"]) == ("127.0.0.1", "http", "web.get")
        assert (detail["sent"], detail["received"]) == (there.received, there.sent)
        record = next(one for one in here.audit.records if one.operation == "egress.connection")
        assert (record.invocation, record.who, record.tenant) == (outcome.invocation, "builder", "default")
        assert record.bytes == there.received + there.sent
        assert record.seconds > 0


async def test_tls_is_verified_for_the_name_and_counted_as_it_crossed(tmp_path: Path) -> None:
    outside, other = Authority(tmp_path), Authority(tmp_path, "Other")
    async with (
        site(ok(b"secure"), outside.server("a.test")) as there,
        site(ok(b"wrong"), other.server("a.test")) as stranger,
        world(Names(TWO), "*.test", ca_file=str(outside.file)) as here,
    ):
        outcome = await here.run("web.get", {"url": f"https://a.test:{there.port}/"}, by=BY)
        assert outcome.result()["body"] == "secure"
        [(_, detail)] = egress(here, "connection")
        assert (detail["sent"], detail["received"]) == (there.received, there.sent)
        wrong_name = await here.run("web.get", {"url": f"https://b.test:{there.port}/"}, by=BY)
        assert "certificate is not trusted" in refused(wrong_name, "unavailable")
        wrong_authority = await here.run("web.get", {"url": f"https://a.test:{stranger.port}/"}, by=BY)
        assert "certificate is not trusted" in refused(wrong_authority, "unavailable")
        no_tls = await here.run("web.get", {"url": f"http://a.test:{there.port}/"}, by=BY)
        assert no_tls.problem is not None
        assert len(there.asked) == 1
        assert stranger.asked == []
        assert len(egress(here, "connection")) == 4


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "127.0.0.2", "169.254.169.254", "::1", "::ffff:127.0.0.2", "fe80::1%1"]
)
async def test_a_name_that_leads_to_an_inner_address_is_refused_and_recorded(address: str) -> None:
    async with world(Names({"a.test": [address], "b.test": ["1.1.1.1", address]}), "*.test") as here:
        for name in ("a.test", "b.test"):
            said = refused(await here.run("web.get", {"url": f"http://{name}/"}, by=BY), "denied")
            assert address not in said
            assert refused(await here.run("web.say", {"host": name, "port": 80, "text": "x"}, by=BY), "denied")
        records = egress(here, "refused")
        assert {one["address"] for _, one in records} == {address}
        assert {resource for resource, _ in records} == {"host://-/a.test:80", "host://-/b.test:80"}
        assert {one["by"] for _, one in records} == {"http", "dial"}
        assert egress(here, "connection") == []


async def test_a_name_is_looked_up_once_and_the_checked_address_is_used() -> None:
    names = Names({"a.test": ["127.0.0.1"]}, then={"a.test": ["10.0.0.1"]})
    async with site() as there, world(names, "a.test") as here:
        url = f"http://a.test:{there.port}/"
        assert (await here.run("web.get", {"url": url}, by=BY)).result()["status"] == 200
        assert names.asked == ["a.test"]
        refused(await here.run("web.get", {"url": url}, by=BY), "denied")
        assert there.connections == 1


@pytest.mark.parametrize("literal", ["127.0.0.2", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"])
async def test_an_address_in_the_place_of_a_name_is_vetted_as_well(literal: str) -> None:
    async with world(Names({}), "*") as here:
        refused(await here.run("web.get", {"url": f"http://{literal}/"}, by=BY), "denied")
        assert len(egress(here, "refused")) == 1


@pytest.mark.parametrize("literal", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[fe80::1%25eth0]", "a\0.test"])
async def test_an_address_in_disguise_is_no_host(literal: str) -> None:
    async with world(Names({})) as here:
        refused(await here.run("web.send", {"url": f"http://{literal}/", "content": ""}, by=BY), "invalid-input")


async def test_an_operation_reaches_only_what_is_granted_even_if_its_input_named_nothing() -> None:
    async with site() as there, world(Names(TWO), deny=("a.test",)) as here:
        outcome = await here.run("web.send", {"url": f"http://a.test:{there.port}/", "content": "x"}, by=BY)
        refused(outcome, "not-found")
        assert there.connections == 0
        [(resource, detail)] = egress(here, "refused")
        assert (resource, detail["why"]) == (f"host://-/a.test:{there.port}", "not granted (not-found)")


async def test_each_redirect_is_judged_vetted_and_recorded_anew() -> None:
    names = Names(TWO | {"inner.test": ["10.0.0.1"]})
    async with site() as last:
        to = {
            "/b": f"http://b.test:{last.port}/end",
            "/evil": f"http://evil.org:{last.port}/",
            "/inner": "http://inner.test/",
            "/file": "file:///etc/passwd",
            "/literal": "http://127.0.0.2/",
            "/user": "http://a.test@evil.org/",
            "/loop": "/loop",
        }
        async with (
            site(lambda asked: leads(to[asked.line.split()[1]])) as first,
            world(names, "*.test") as here,
        ):
            base = f"http://a.test:{first.port}"
            found = await here.run("web.get", {"url": f"{base}/b"}, by=BY)
            assert found.result()["url"] == f"http://b.test:{last.port}/end"
            assert len(egress(here, "connection")) == 2
            refused(await here.run("web.get", {"url": f"{base}/evil"}, by=BY), "not-found")
            refused(await here.run("web.get", {"url": f"{base}/inner"}, by=BY), "denied")
            refused(await here.run("web.get", {"url": f"{base}/literal"}, by=BY), "not-found")
            refused(await here.run("web.get", {"url": f"{base}/user"}, by=BY), "invalid-input")
            refused(await here.run("web.get", {"url": f"{base}/file"}, by=BY), "invalid-input")
            assert [resource for resource, _ in egress(here, "refused")] == [
                f"host://-/evil.org:{last.port}", "host://-/inner.test:80", "host://-/127.0.0.2:80",
            ]  # fmt: skip
            assert last.connections == 1
            first.asked.clear()
            looped = await here.run("web.get", {"url": f"{base}/loop", "follow": 3}, by=BY)
            assert (looped.result()["status"], len(first.asked)) == (302, 4)


async def test_credentials_do_not_follow_to_another_host_and_a_body_only_where_it_belongs() -> None:
    given = {"Authorization": "Bearer hidden", "X-Api-Key": "hidden", "Cookie": "hidden", "Accept": "text/plain"}
    async with site() as last:

        def lead(asked: Asked) -> bytes:
            status = asked.line.split()[1].strip("/")
            if status == "same":
                return ok()
            return leads("/same") if status == "stay" else leads(f"http://b.test:{last.port}/x", f"{status} There")

        async with site(lead) as first, world(Names(TWO), "*.test") as here:
            base = f"http://a.test:{first.port}"
            await here.run("web.get", {"url": f"{base}/302", "headers": given}, by=BY)
            assert not [line for line in last.asked[0].lines if "hidden" in line]
            assert last.asked[0].header("accept") == ["text/plain"]
            await here.run("web.get", {"url": f"{base}/stay", "headers": given}, by=BY)
            assert first.asked[-1].header("authorization") == ["Bearer hidden"]
            for status, method, body in (
                (301, "GET", b""),
                (302, "GET", b""),
                (303, "GET", b""),
                (307, "POST", b"text"),
                (308, "POST", b"text"),
            ):
                await here.run("web.send", {"url": f"{base}/{status}", "content": "text"}, by=BY)
                asked = last.asked[-1]
                assert (asked.line, asked.body) == (f"{method} /x HTTP/1.1", body), status
                assert asked.header("x-api-key") == []
                assert bool(asked.header("content-type")) == bool(body)
            await here.run("web.send", {"url": f"{base}/303", "content": "", "method": "HEAD"}, by=BY)
            assert last.asked[-1].line == "HEAD /x HTTP/1.1"


async def test_a_redirect_never_leads_out_of_tls(tmp_path: Path) -> None:
    outside = Authority(tmp_path)
    async with (
        site() as plain,
        site(leads(f"http://a.test:{plain.port}/"), outside.server("a.test")) as there,
        world(ONE, "a.test", ca_file=str(outside.file)) as here,
    ):
        refused(await here.run("web.get", {"url": f"https://a.test:{there.port}/"}, by=BY), "denied")
        assert plain.connections == 0


async def test_size_and_time_are_capped() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(200))
    async with (
        site(endless + b"1\r\nx\r\n") as large,
        listening(silent) as slow,
        site(b"HTTP/1.1 200 OK\r\n" + headers) as wordy,
        world(ONE, "a.test") as here,
    ):
        refused(await here.run("web.get", {"url": f"http://a.test:{large.port}/"}, by=BY), "too-large")
        refused(await here.run("web.get", {"url": f"http://a.test:{slow.port}/", "timeout_s": 0.2}, by=BY), "deadline")
        refused(await here.run("web.get", {"url": f"http://a.test:{wordy.port}/"}, by=BY), "unavailable")
        assert len(egress(here, "connection")) == 3


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.org"}, {"Content-Length": "5"}, {"transfer-encoding": "chunked"}, {"Connection": "x"},
     {"Proxy-Authorization": "x"}, {"X": "a\r\nY: b"}, {"X\r\nY": "b"}, {"X": "\u20ac"}, {"\u00e9": "x"}],
)  # fmt: skip
async def test_headers_that_would_change_what_the_request_is_are_refused(headers: dict[str, str]) -> None:
    async with site() as there, world(ONE, "a.test") as here:
        call = {"url": f"http://a.test:{there.port}/", "headers": headers}
        refused(await here.run("web.get", call, by=BY), "invalid-input")
        assert there.asked == []


@pytest.mark.parametrize(
    ("url", "method"),
    [("ftp://a.test/", "GET"), ("http://u:p@a.test/", "GET"), ("//a.test/", "GET"), ("http://a.test/", "CONNECT"),
     ("http://a.test/", "get"), ("http://a.test/", "GET / HTTP/1.1\r\nX: ")],
)  # fmt: skip
async def test_what_is_no_plain_request_is_refused(url: str, method: str) -> None:
    async with world(ONE) as here:
        refused(await here.run("web.send", {"url": url, "content": "", "method": method}, by=BY), "invalid-input")


async def test_what_stands_in_a_path_is_quoted_and_never_a_line_of_its_own() -> None:
    async with site() as there, world(ONE, "a.test") as here:
        url = f"http://a.test:{there.port}/\u00e9%20%2f?q=\u00fc&r=%0d%0a"
        assert (await here.run("web.get", {"url": url}, by=BY)).result()["status"] == 200
        assert there.asked[0].line == "GET /%C3%A9%20%2f?q=%C3%BC&r=%0d%0a HTTP/1.1"


async def test_no_variable_of_the_environment_sends_a_request_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(ok(b"proxied")) as proxy, site(ok(b"direct")) as there:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with world(ONE, "a.test") as here:
            outcome = await here.run("web.get", {"url": f"http://a.test:{there.port}/"}, by=BY)
        assert outcome.result()["body"] == "direct"
        assert proxy.connections == 0


async def test_a_bare_connection_is_recorded_to_the_byte() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        await reader.read()
        writer.close()

    async with listening(echo) as there, world(ONE, "a.test") as here:
        outcome = await here.run("web.say", {"host": "A.test.", "port": there.port, "text": "abc"}, by=BY)
        assert outcome.result()["body"] == "ABC"
        [(resource, detail)] = egress(here, "connection")
        assert resource == f"host://-/a.test:{there.port}"
        assert (detail["sent"], detail["received"], detail["by"]) == (3, 3, "dial")


@pytest.mark.parametrize("host", ["a.test:80@evil.org", "http://a.test", "a.test/x", "0x7f.1", "", "a b"])
async def test_a_bare_connection_goes_to_one_host_for_every_reader(host: str) -> None:
    async with world(Names({})) as here:
        refused(await here.run("web.say", {"host": host, "port": 80, "text": "x"}, by=BY), "invalid-input")


async def test_where_nobody_answers_and_what_has_no_address_is_unavailable() -> None:
    async with site() as gone:
        port = gone.port
    async with world(Names({"a.test": ["127.0.0.1"], "empty.test": []}), "*.test") as here:
        for host in ("a.test", "empty.test", "none.test"):
            refused(await here.run("web.get", {"url": f"http://{host}:{port}/"}, by=BY), "unavailable")


async def test_a_missing_file_of_authorities_is_said(tmp_path: Path) -> None:
    async with world(ONE, "a.test", ca_file=str(tmp_path / "none.pem")) as here:
        said = refused(await here.run("web.get", {"url": "http://a.test/"}, by=BY), "unavailable")
        assert "net.ca_file" in said
