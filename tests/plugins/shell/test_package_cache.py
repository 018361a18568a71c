"""What a build has fetched: kept for the next one of the same caller, and poisoned by nobody."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Mapping
from email.utils import formatdate
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import pytest_asyncio

from tests.needs import missing, program
from tests.plugins.code.inside import inside
from tests.promise import promise
from tests.runtime.net.outside import Asked, Names, Site, ok, site
from tests.surfaces.http.house import Caller, House, house_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
CACHE = "/var/cache/build"
TARBALL = "demo-1729-1.0.0.tgz"
WHEEL = "demo_1729-1.0-py3-none-any.whl"
MODULE = "example.org/demo1729"
CACHE_BYTES = 2_000_000


@pytest.fixture(autouse=True)
def needed() -> None:
    program("bwrap", "bubblewrap")
    program("pip", "python3-pip")


def wheel() -> bytes:
    """Make a package that pip installs."""
    meta = "demo_1729-1.0.dist-info"
    files = {
        "demo_1729.py": b"SAYS = 'hello'\n",
        f"{meta}/METADATA": b"Metadata-Version: 2.1\nName: demo-1729\nVersion: 1.0\n",
        f"{meta}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, data in {**files, f"{meta}/RECORD": f"{record}{meta}/RECORD,,\n".encode()}.items():
            archive.writestr(name, data)
    return into.getvalue()


def tarball() -> bytes:
    """Make a package that npm installs."""
    files = {"package.json": b'{"name": "demo-1729", "version": "1.0.0"}', "index.js": b"module.exports = 'hello';"}
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for name, data in files.items():
            one = tarfile.TarInfo(f"package/{name}")
            one.size = len(data)
            archive.addfile(one, io.BytesIO(data))
    return gzip.compress(into.getvalue(), mtime=0)


def module() -> bytes:
    """Make a module as Go's proxies hand it out."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr(f"{MODULE}@v1.0.0/go.mod", f"module {MODULE}\n")
        archive.writestr(f"{MODULE}@v1.0.0/demo.go", 'package demo1729\n\nconst Says = "hello"\n')
    return into.getvalue()


def of_go(asked: Asked) -> bytes:
    """Answer as a proxy of Go's modules does (go.dev/ref/mod#goproxy-protocol)."""
    if ".zip" in asked.line:
        return ok(module(), "Content-Type: application/zip")
    if ".mod" in asked.line:
        return ok(f"module {MODULE}\n".encode())
    return ok(b'{"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}')


def about(asked: Asked) -> bytes:
    """Give what npm's registry says of a package."""
    data, here = tarball(), f"http://{asked.header('host')[0]}"
    dist = {
        "tarball": f"{here}/demo-1729/-/{TARBALL}",
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode(),
    }
    version = {"name": "demo-1729", "version": "1.0.0", "dist": dist}
    return json.dumps({"name": "demo-1729", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}).encode()


def index(asked: Asked) -> bytes:
    """Answer as an index of packages does."""
    if f"/{MODULE}/@v/" in asked.line:
        return of_go(asked)
    if TARBALL in asked.line:
        return ok(tarball(), "Content-Type: application/octet-stream")
    if asked.line.startswith("GET /demo-1729 "):
        return ok(about(asked), "Content-Type: application/json")
    if WHEEL in asked.line:
        date = f"Date: {formatdate(usegmt=True)}"  # without one nothing is cached
        return ok(wheel(), "Content-Type: application/octet-stream", "Cache-Control: max-age=86400", date)
    page = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'
    return ok(page.encode(), "Content-Type: text/html")


def written(files: Mapping[str, str]) -> str:
    """Give the command that writes files, as the caller's own user."""
    return " && ".join(f"mkdir -p $(dirname {name}) && echo {quote(text)} > {name}" for name, text in files.items())


def fetched(there: Site, what: str = WHEEL) -> int:
    return sum(what in one.line for one in there.asked)


@pytest_asyncio.fixture(loop_scope="session")
async def there(tmp_path: Path) -> AsyncGenerator[tuple[House, Site]]:
    """Give a house whose builds may reach an index, and the index."""
    data = tmp_path / "data"
    data.mkdir()
    async with site(index) as packages:
        (data / "superagent.toml").write_text(
            f'[net]\nallow_private = ["127.0.0.1/32"]\n'
            f'[sandbox]\nhosts = ["index.test:{packages.port}"]\ncache_bytes = {CACHE_BYTES}\n'
        )
        async with house_in(data, resolve=Names({"index.test": ["127.0.0.1"]})) as house:
            yield house, packages


async def agent(house: House, packages: Site, folder: str = "") -> Caller:
    where: dict[str, Any] = {"paths": ["{workspace}/**"], "hosts": [f"index.test:{packages.port}"]}
    folder = folder or str((await house.agent()).workspace)
    return await house.agent(workspace=folder, grants=[{"effect": "allow", "operations": ["shell.*"], "where": where}])


async def build(caller: Caller, command: str, **input: Any) -> dict[str, Any]:
    return await caller.done("shell.run", {"command": command, "sandbox": "build", **input})


async def again(house: House, caller: Caller, command: str) -> dict[str, Any]:
    """Build once more, after a person has said that what the index told gives no orders."""
    for subject in (f"caller:{caller.name}", f"place:{caller.workspace}"):
        await house.owner.done("access.taint.clear", {"subject": subject})
    return await build(caller, command)


def install(packages: Site) -> str:
    place = f"index.test:{packages.port}"
    return (
        f"rm -rf lib; pip install -q --no-deps --target lib -i http://{place}/simple --trusted-host {place} "
        "demo-1729 && PYTHONPATH=lib python3 -c 'import demo_1729; print(demo_1729.SAYS)'"
    )


@promise("1.3b")
async def test_what_was_fetched_once_is_not_fetched_again_by_the_same_caller(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)

    first = await build(caller, install(packages))
    after_first = fetched(packages)
    second = await again(house, caller, install(packages))

    assert (first["exit_code"], first["stdout"]) == (0, "hello\n"), first["stderr"]
    assert (second["exit_code"], second["stdout"]) == (0, "hello\n"), second["stderr"]
    assert (after_first, fetched(packages)) == (1, 1)


@promise("1.3b")
async def test_npm_keeps_there_what_it_fetched(there: tuple[House, Site]) -> None:
    program("npm", "nodejs")
    house, packages = there
    caller = await agent(house, packages)
    install = (
        "rm -rf node_modules package*.json; npm install --no-audit --no-fund --no-update-notifier --loglevel error "
        f"--registry http://index.test:{packages.port} demo-1729 >&2 && node -p 'require(\"demo-1729\")'"
    )

    said = [await build(caller, install), await again(house, caller, install)]

    assert [(one["exit_code"], one["stdout"]) for one in said] == [(0, "hello\n")] * 2, said
    assert fetched(packages, TARBALL) == 1


@promise("1.3b")
async def test_uv_keeps_there_what_it_fetched(there: tuple[House, Site]) -> None:
    own = Path(sys.executable).with_name("uv")
    if not own.exists():
        missing("uv could not be installed beside the tests")
    house, packages = there
    caller = await agent(house, packages)
    shutil.copy(own, Path(str(caller.workspace)) / "uv")
    place = f"http://index.test:{packages.port}"
    install = (
        f"rm -rf lib; ./uv pip install -q --no-deps --target lib --python python3 -i {place}/simple "
        f"--allow-insecure-host index.test:{packages.port} demo-1729 "
        "&& PYTHONPATH=lib python3 -c 'import demo_1729; print(demo_1729.SAYS)'"
    )

    said = [await build(caller, install), await again(house, caller, install)]

    assert [(one["exit_code"], one["stdout"]) for one in said] == [(0, "hello\n")] * 2, said
    assert fetched(packages) == 1


@promise("1.3b")
@pytest.mark.slow
async def test_go_keeps_there_what_it_fetched(there: tuple[House, Site]) -> None:
    inside("go", "golang-go")
    house, packages = there
    caller = await agent(house, packages)
    write = written({
        "go.mod": f"module example.org/a\n\ngo 1.19\n\nrequire {MODULE} v1.0.0\n",
        "a.go": f'package main\n\nimport "{MODULE}"\n\nfunc main() {{ println(demo1729.Says) }}\n',
    })  # fmt: skip
    run = f"GOPROXY=http://index.test:{packages.port} GOSUMDB=off GOFLAGS=-mod=mod go run ."

    said = [
        await build(caller, f"{write} && {run} 2>said || cat said; tail -n 1 said"),
        await again(house, caller, f"{write} && {run} 2>said || cat said; tail -n 1 said"),
    ]

    assert [(one["exit_code"], one["stdout"]) for one in said] == [(0, "hello\n")] * 2, said
    assert fetched(packages, ".zip") == 1


@promise("1.3b")
@pytest.mark.slow
async def test_cargo_keeps_there_what_it_fetched(there: tuple[House, Site]) -> None:
    for name in ("cargo", "git"):
        inside(name)
    house, packages = there
    caller = await agent(house, packages)
    package = '[package]\nname = "{}"\nversion = "1.0.0"\nedition = "2021"\n'
    away = 'demo = { git = "file:///workspace/demo" }\n'
    write = written({
        "demo/Cargo.toml": package.format("demo"),
        "demo/src/lib.rs": 'pub const SAYS: &str = "hello";\n',
        "Cargo.toml": f"{package.format('a')}[dependencies]\n{away}",
        "src/main.rs": 'fn main() { println!("{}", demo::SAYS) }\n',
    })  # fmt: skip
    commit = "git init -q && git add . && git -c user.name=a -c user.email=a@example.org commit -qm one"

    first = await build(caller, f"{write} && (cd demo && {commit}) && cargo run -q && mv demo gone")
    second = await build(caller, "rm -rf target && cargo run -q --offline")

    assert (first["exit_code"], first["stdout"]) == (0, "hello\n"), first
    assert (second["exit_code"], second["stdout"]) == (0, "hello\n"), second


@promise("1.3b")
async def test_nobody_else_gets_it_not_even_in_the_same_folder_of_the_same_tenant(there: tuple[House, Site]) -> None:
    house, packages = there
    one = await agent(house, packages)
    other = await agent(house, packages, str(one.workspace))
    await build(one, f"{install(packages)}; echo poison > {CACHE}/pip/poison; find {CACHE} -type f | wc -l")

    seen = await build(other, f"find {CACHE} -type f; {install(packages)}")

    assert seen["stdout"] == "hello\n", seen
    assert fetched(packages) == 2
    kept = await build(one, f"cat {CACHE}/pip/poison")  # so there was something to be seen
    assert kept["stdout"] == "poison\n"


@promise("1.3b")
@pytest.mark.slow
@pytest.mark.parametrize("before", ["true", "echo a > file"], ids=["cache alone", "workspace too"])
@pytest.mark.parametrize(
    ("command", "more"),
    [
        (f"mkdir {CACHE}/x; exit 3", {}),
        (f"mkdir {CACHE}/x", {"apply": False}),
        (f"mkdir {CACHE}/x; sleep 60", {"timeout_s": 1.0}),
    ],
)
async def test_what_a_build_left_there_that_came_to_nothing_goes_with_it(
    there: tuple[House, Site], command: str, more: dict[str, Any], before: str
) -> None:
    house, packages = there
    caller = await agent(house, packages)
    await build(caller, f"mkdir {CACHE}/before")

    await build(caller, f"{before}; {command}", **more)

    assert (await build(caller, f"ls {CACHE}"))["stdout"] == "before\n"


async def test_a_rehearsed_build_leaves_nothing_there(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)

    reply = await caller.call("shell.run", {"command": f"mkdir {CACHE}/x", "sandbox": "build"}, x_dry_run="true")

    assert reply.status_code == 200, reply.text
    assert (await build(caller, f"ls {CACHE}"))["stdout"] == ""


async def test_other_profiles_have_no_cache(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)
    await build(caller, f"mkdir {CACHE}/x")

    for profile in ("workspace-write", "read-only", "net-allowlist"):
        seen = await build(caller, f"ls -A {CACHE}; echo x > {CACHE}/x; env | grep -c {CACHE}", sandbox=profile)
        assert (seen["stdout"], "Read-only" in seen["stderr"]) == ("0\n", True), seen


async def test_a_cache_that_has_grown_too_large_begins_anew(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)
    await build(caller, f"mkdir {CACHE}/before")

    grown = await build(caller, f"head -c {CACHE_BYTES} /dev/zero | tr '\\0' x > {CACHE}/big")

    assert grown["exit_code"] == 0
    assert (await build(caller, f"ls {CACHE}"))["stdout"] == ""
    held = sum(one.stat().st_blocks * 512 for one in caches(house).rglob("*") if one.is_file())
    assert held < CACHE_BYTES


@pytest.mark.slow
async def test_while_a_build_runs_its_cache_has_an_end_as_well(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)
    limits = {"disk_bytes": 8 << 20, "file_bytes": 1 << 30}

    ended = await build(caller, f"yes | head -c 64M > {CACHE}/big; sleep 60", limits=limits)

    assert (ended["limit"], ended["exit_code"]) == ("disk", None)
    assert (await build(caller, f"ls {CACHE}"))["stdout"] == ""


async def test_what_is_laid_there_as_a_trap_leads_nowhere(there: tuple[House, Site]) -> None:
    house, packages = there
    caller = await agent(house, packages)
    secret = house.data / "superagent.toml"
    traps = (
        f"cd {CACHE}; ln -s {secret} pip; ln -s {house.data} npm; mkfifo uv; mkdir -m 0 closed; ln -s .. up; "
        "chmod u+s,g+s . ; d=d; for i in $(seq 200); do mkdir $d; cd $d; done; echo deep > file"
    )
    assert (await build(caller, traps))["exit_code"] == 0

    seen = await build(caller, f"cat {CACHE}/pip; ls {CACHE}/npm/; ls {CACHE}; head -c 50M /dev/zero > {CACHE}/big")

    assert "allow_private" not in seen["stdout"]
    assert seen["stdout"].split() == ["closed", "d", "npm", "pip", "up", "uv"], seen
    assert secret.read_text().startswith("[net]")
    assert [one.stat().st_mode & 0o7777 for place in caches(house).iterdir() for one in place.iterdir()] == []


def caches(house: House) -> Path:
    return house.installation.places.state / "sandbox" / "caches"
