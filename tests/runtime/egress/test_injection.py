"""Injection: the server gets the credential, the sandbox never does, and only the named hosts are opened."""

from __future__ import annotations

import base64
import hashlib
import ssl
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.endpoints import HostRule, HostRules
from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput
from superagent.runtime.egress.injection import Injection, Mask
from tests import needs
from tests.promise import promise
from tests.runtime.egress.inside import node_folder, outlook, sandboxed
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, ok, site

TOKEN = "s3cr3t/token+9f8e7d6c5b4a"
KNOWN = {name: ["127.0.0.1"] for name in ("api.test", "other.test")}
CURL = ("curl", "-sS", "--max-time", "10")
PYTHON = "import urllib.request as r; print(r.urlopen({url!r}, timeout=10).read().decode())"
NODE = (
    "fetch(process.argv[1]).then(r => r.text()).then(console.log, e => {console.error(e.cause || e); process.exit(1)})"
)


DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
# told the first characters and a digest only, so that the search itself does not bring in what it looks for
SEARCH = r"""
import hashlib, re
def holds(data):
    places = [at.start() for at in re.finditer(re.escape(begins.encode()), data)]
    return any(hashlib.sha256(data[at:at + size]).hexdigest() == digest for at in places)
result = []
for folder in ("/tmp", "/run", "/dev/shm", "/etc"):
    for path, _, names in os.walk(folder):
        for name in names if "/node" not in path else []:
            with open(os.path.join(path, name), "rb") as file:
                result += [os.path.join(path, name)] if holds(file.read()) else []
result += ["environment"] if holds(open("/proc/self/environ", "rb").read()) else []
with open("/proc/self/mem", "rb", 0) as memory:
    for line in open("/proc/self/maps"):
        begin, end = (int(one, 16) for one in line.split()[0].split("-"))
        if line.split()[1].startswith("rw"):
            try:
                memory.seek(begin)
                if holds(memory.read(end - begin)):
                    result.append("memory")
            except (OSError, ValueError, OverflowError):
                continue
"""


def bearer(host: str) -> Injection:
    return Injection.of(host, "Authorization", Secret(f"Bearer {TOKEN}"))


def spellings(text: str) -> list[str]:
    size = len(text)
    plain = base64.b64encode(text.encode()).decode()
    within = [base64.b64encode(f"{'x' * at}{text}yy".encode()).decode() for at in range(3)]
    return [
        text, quote(text, safe=""), plain, plain.rstrip("="), text.encode().hex(), text.replace("/", "\\/"),
        quote(text, safe="").lower(), text.encode().hex().upper(), escape(text, quote=True).replace("/", "&#x2F;"),
        "".join(f"\\u{ord(char):04x}" for char in text),
        *(one[(8 * at + 5) // 6 : (8 * (at + size) + 5) // 6] for at, one in enumerate(within)),
    ]  # fmt: skip


@promise("1.3c")
async def test_the_server_gets_the_credential_and_the_inside_never_does(tmp_path: Path) -> None:
    outside = Authority(tmp_path)

    def echo(asked: Asked) -> bytes:
        said = "\n".join([*asked.lines, asked.body.decode(), *spellings(TOKEN), *spellings(f"Bearer {TOKEN}")])
        return ok(said.encode(), f"X-Echo: {TOKEN}")

    async with (
        site(echo, outside.server("api.test")) as there,
        site(ok(b"untouched"), outside.server("other.test")) as other,
        outlook(Names(KNOWN), ca_file=str(outside.file)) as view,
    ):
        rules = HostRules.of(f"api.test:{there.port}", f"other.test:{other.port}")
        injections = [bearer(f"api.test:{there.port}")]
        async with sandboxed(view, rules, injections=injections) as (inside, gate):
            url = f"https://api.test:{there.port}/v1?x=1"
            seen: list[str] = []
            for argv in (
                (*CURL, "-i", url),
                (*CURL, "-i", "-H", "Authorization: Bearer mine", "-H", "Accept-Encoding: gzip", "-d", "body", url),
                ("python3", "-c", PYTHON.format(url=url)),
                *([("/tmp/node/node", "-e", NODE, url)] if node_folder() else []),
            ):
                code, out, err = await inside.run(*argv)
                assert code == 0, err
                assert "HTTP/1.1" in out
                seen += [out, err]
            assert [one.header("authorization") for one in there.asked] == [[f"Bearer {TOKEN}"]] * len(there.asked)
            assert {one.header("accept-encoding")[0] for one in there.asked} == {"identity"}
            assert there.asked[1].body == b"body"
            # nowhere in what came back, in files, the environment, or the memory of the process that asked
            shown = await inside.python(
                "import urllib.request as r\nresult = r.urlopen(url, timeout=10).read()", url=url
            )
            assert b"HTTP/1.1" in shown
            assert TOKEN.encode() not in shown
            assert await inside.python(SEARCH, begins=TOKEN[:6], size=len(TOKEN), digest=DIGEST) == []
            control = await inside.python(SEARCH, begins=TOKEN[:6], size=len(TOKEN), digest=DIGEST, also=TOKEN)
            assert "memory" in control
            for text in spellings(TOKEN):
                assert not any(text in one for one in seen), text
            # the other host is not opened: its own certificate is seen, which nobody inside knows
            refused = await inside.run(*CURL, f"https://other.test:{other.port}/")
            assert refused[0] == 60
            await inside.python("open('/tmp/ca', 'w').write(text)", text=outside.file.read_text())
            assert (await inside.run(*CURL, "--cacert", "/tmp/ca", f"https://other.test:{other.port}/"))[
                1
            ] == "untouched"
            assert other.asked[0].header("authorization") == []
            assert gate.traffic.opened == {f"api.test:{there.port}"}
            assert gate.traffic.hosts == {f"api.test:{there.port}", f"other.test:{other.port}"}
        records = view.records("connection")
        opened = [detail for resource, detail in records if "api.test" in resource]
        assert all(one["opened"] for one in opened)
        assert sum(one["sent"] for one in opened) == there.received
        assert sum(one["received"] for one in opened) == there.sent
        assert not [one for one in view.audit.records if TOKEN in repr(one)]


@promise("1.3c")
@pytest.mark.slow
async def test_the_credential_goes_only_to_its_own_port_over_verified_tls(tmp_path: Path) -> None:
    outside, stranger = Authority(tmp_path), Authority(tmp_path, "Stranger")
    async with (
        site(ok(), outside.server("api.test")) as there,
        site(ok(), stranger.server("api.test")) as false,
        site(ok(), outside.server("api.test")) as port,
        site(ok()) as plain,
        outlook(Names(KNOWN), ca_file=str(outside.file)) as view,
    ):
        rules = HostRules.of("api.test")
        injections = [bearer(f"api.test:{one.port}") for one in (there, false, plain)]
        async with sandboxed(view, rules, injections=injections) as (inside, _):
            assert (await inside.run(*CURL, f"https://api.test:{there.port}/"))[0] == 0
            code, out, _ = await inside.run(*CURL, f"https://api.test:{false.port}/")
            assert code == 0
            assert "certificate is not trusted" in out
            assert TOKEN not in out
            await inside.run(*CURL, "-k", f"https://api.test:{port.port}/")
            await inside.run(*CURL, f"http://api.test:{plain.port}/")
            await inside.run(*CURL, "-p", f"http://api.test:{plain.port}/")
            await inside.run(*CURL, f"https://api.test:{plain.port}/")
        assert false.asked == []
        assert there.asked[0].header("authorization") == [f"Bearer {TOKEN}"]
        assert [one.header("authorization") for one in [*port.asked, *plain.asked]] == [[]] * 3


async def test_a_sandbox_is_stood_for_by_its_own_authority_for_its_own_hosts_only(tmp_path: Path) -> None:
    outside = Authority(tmp_path)
    async with (
        site(ok(), outside.server("api.test")) as there,
        outlook(Names(KNOWN), ca_file=str(outside.file)) as view,
    ):
        injections = [bearer(f"api.test:{there.port}")]
        async with (
            sandboxed(view, HostRules.of("api.test"), injections=injections) as (one, _),
            sandboxed(view, HostRules.of("api.test"), injections=injections) as (two, _),
        ):
            first, second = [await inside.run("cat", "/run/egress/authorities.pem") for inside in (one, two)]
            ours = [text[1].strip().rpartition("-----BEGIN")[2] for text in (first, second)]
            assert ours[0] != ours[1]
            assert "PRIVATE" not in first[1]
            tunnel = f"CONNECT api.test:{there.port} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode()
            shake = (
                "import ssl\ncontext = ssl.create_default_context(cafile='/run/egress/authorities.pem')\n"
                "context.check_hostname = False\nsock = socket.create_connection(('127.0.0.1', 3128), 5)\n"
                "sock.sendall(raw)\nassert b'200' in sock.recv(1000)\n"
                "result = context.wrap_socket(sock, server_hostname=name).getpeercert()['subjectAltName']"
            )
            assert await one.python(shake, raw=tunnel, name="api.test") == [["DNS", "api.test"]]
            for name in ("other.test", "x.api.test", None):
                assert str(await one.python(shake, raw=tunnel, name=name)).startswith("failed"), name


async def test_methods_are_held_inside_tls_where_the_host_is_named_to_be_opened(tmp_path: Path) -> None:
    outside = Authority(tmp_path)
    async with (
        site(ok(b"docs"), outside.server("api.test")) as there,
        outlook(Names(KNOWN), ca_file=str(outside.file)) as view,
    ):
        rules = HostRules([HostRule.of("api.test", ["GET"])])
        url = f"https://api.test:{there.port}/"
        async with sandboxed(view, rules, opens=["api.test"]) as (inside, gate):
            assert (await inside.run(*CURL, url))[1] == "docs"
            code, out, _ = await inside.run(*CURL, "-d", "x", url)
            assert code == 0
            assert "`POST` is not allowed" in out
            assert gate.traffic.opened == {f"api.test:{there.port}"}
        async with sandboxed(view, rules) as (inside, gate):
            assert (await inside.run(*CURL, url))[0] != 0
            assert gate.denials()[-1].why == "methods inside TLS"
        assert [one.line for one in there.asked] == ["GET / HTTP/1.1"]


async def test_a_compressed_answer_is_not_let_in_where_it_could_hide_the_credential(tmp_path: Path) -> None:
    outside = Authority(tmp_path)
    async with (
        site(ok(b"\x1f\x8b", "Content-Encoding: gzip"), outside.server("api.test")) as there,
        outlook(Names(KNOWN), ca_file=str(outside.file)) as view,
    ):
        injections = [bearer(f"api.test:{there.port}")]
        async with sandboxed(view, HostRules.of("api.test"), injections=injections) as (inside, _):
            assert "compressed" in (await inside.run(*CURL, f"https://api.test:{there.port}/"))[1]


def test_the_authority_outside_refuses_to_stand_for_another_host() -> None:
    needs.program("openssl")
    import datetime

    from superagent.runtime.egress.authority import Authority as Ours

    ours = Ours(["api.test"], datetime.datetime.now(datetime.UTC))
    assert isinstance(ours.context("api.test"), ssl.SSLContext)
    assert ours.context("api.test") is ours.context("api.test")
    with pytest.raises(KeyError):
        ours.context("other.test")


# ---- what is taken out of answers


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_every_spelling_is_overwritten_also_across_pieces(size: int) -> None:
    injection = bearer("api.test")
    for text in spellings(TOKEN):
        data = f"before {text} after".encode()
        mask = Mask(injection.values())
        out = b"".join(mask.feed(data[at : at + size]) for at in range(0, len(data), size)) + mask.rest()
        # of two spellings the shorter one may be found first: then the `=` at the end stays, which says nothing
        assert out.replace(b"=", b"*") == data.replace(text.encode(), b"*" * len(text.encode()))


def test_the_two_halves_of_a_basic_credential_are_one_secret_each() -> None:
    value = base64.b64encode(b"ada:correct horse/battery").decode()
    mask = Mask(Injection.of("api.test", "Authorization", Secret(f"Basic {value}")).values())
    for shown in (value, "correct horse/battery", "correct%20horse%2Fbattery", "ada:correct horse/battery"):
        assert mask.whole(f"<{shown}>".encode()) == f"<{'*' * len(shown)}>".encode()


def test_texts_that_are_too_short_do_not_cut_holes() -> None:
    mask = Mask(Injection.of("api.test", "X-Key", Secret("a")).values())
    assert mask.whole(b"a banana") == b"a banana"


@given(
    st.text("ab%\\/ü", max_size=60), st.integers(1, 9), st.lists(st.text("ab%/ü", min_size=6, max_size=9), max_size=3)
)
def test_masking_in_pieces_leaves_nothing_that_masking_whole_would_find(
    text: str, size: int, values: list[str]
) -> None:
    data = "".join([text, *values]).encode()
    mask = Mask(frozenset(values))
    out = b"".join(mask.feed(data[at : at + size]) for at in range(0, len(data), size)) + mask.rest()
    assert len(out) == len(data)
    assert not any(value.encode() in out for value in values)
    if not values:
        assert out == data


@pytest.mark.parametrize(
    ("host", "header", "value"),
    [("api.test", "Host", "x"), ("api.test", "A B", "x"), ("api.test", "", "x"), ("api.test", "X", ""),
     ("api.test", "X", "a\r\nb"),
     ("api.test", "X", " a"), ("api.test", "X", "\u20ac"), ("1.1.1.1", "X", "x"), ("*.test", "X", "x"), ("", "X", "x"),
     ("api.test", "X", "x" * 9000), ("api.test", "Transfer-Encoding", "chunked")],
)  # fmt: skip
def test_what_cannot_be_added_is_refused_without_showing_it(host: str, header: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Injection.of(host, header, Secret(value))
    assert len(value) < 3 or value not in str(refused.value.detail)


async def test_two_credentials_for_one_endpoint_are_refused() -> None:
    async with outlook(Names({})) as view:
        with pytest.raises(InvalidInput):
            async with sandboxed(view, HostRules(), injections=[bearer("api.test"), bearer("api.test:443")]):
                pass
