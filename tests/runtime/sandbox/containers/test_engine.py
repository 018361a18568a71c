"""The engine's answers as they come: frames in any pieces, refusals, silence, and text that is no JSON."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.containers import backend
from superagent.runtime.sandbox.containers.backend import Containers, Kind
from superagent.runtime.sandbox.containers.cures import cure_of
from superagent.runtime.sandbox.containers.engine import Attached, Engine, EngineRefusal, frames
from superagent.runtime.sandbox.containers.images import NamedImage
from superagent.runtime.sandbox.containers.leftovers import Marks
from superagent.runtime.sandbox.containers.streams import Streams, content
from tests.runtime.sandbox.here import PROFILE


class Pieces:
    """A connection that gives bytes in these pieces."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        self._left = [data[a:b] for a, b in itertools.pairwise(places)]

    async def read(self) -> bytes:
        return self._left.pop(0) if self._left else b""


@given(
    sent=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=30),
)
def test_frames_are_put_together_however_they_were_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(bytes([stream, 0, 0, 0]) + len(part).to_bytes(4, "big") + part for stream, part in sent)

    async def taken() -> dict[int, bytes]:
        found = {1: b"", 2: b""}
        async for stream, part in frames(cast(Attached, Pieces(data, cuts))):
            found[stream] += part
        return found

    assert asyncio.run(taken()) == {
        number: b"".join(part for stream, part in sent if stream == number) for number in (1, 2)
    }


@asynccontextmanager
async def answering(answer: bytes) -> AsyncGenerator[Engine]:
    """Serve one fixed answer, as an engine could give it, and say nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not answer:
            await reader.read()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        path = f"{folder}/engine.sock"
        server = await asyncio.start_unix_server(serve, path)
        engine = Engine(path)
        try:
            yield engine
        finally:
            await engine.close()
            server.close()
            await server.wait_closed()


def reply(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message":"no such image"}', "no such image"),
        (b'{"cause":"bad"}', "bad"),
        (b"404 page not found\n", "404 page"),
    ],
)
async def test_a_refusal_carries_the_engines_own_words(body: bytes, said: str) -> None:
    async with answering(reply("404 Not Found", body)) as engine:
        with pytest.raises(EngineRefusal, match=said) as no:
            await engine.ask("GET", "/images/x/json")
        with pytest.raises(EngineRefusal, match=said):
            await engine.attach("x", stdin=False)

    assert no.value.status == 404


async def test_an_answer_that_is_no_json_is_given_as_text_and_one_without_a_stream_is_refused() -> None:
    async with answering(reply("200 OK", b"OK")) as engine:
        assert await engine.ask("GET", "/_ping") == "OK"
        with pytest.raises(EngineRefusal, match="no stream came"):
            await engine.attach("x", stdin=True)


@pytest.mark.parametrize("answer", [b"", b"what is this", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"])
async def test_silence_nonsense_and_half_an_answer_are_said_and_do_not_hang(answer: bytes) -> None:
    async with answering(answer) as engine:
        with pytest.raises(SandboxUnavailable, match="nobody answers at"):
            await engine.ask("GET", "/info", timeout_s=0.2)


async def test_an_engine_that_hangs_holds_nobody_up_who_sweeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backend, "SWEEP_S", 0.05)
    async with answering(b"") as engine:
        images = NamedImage("x", ())
        containers = Containers(Kind("docker", engine.path), images, Marks("abc", tmp_path))

        assert await asyncio.wait_for(containers.sweep(), 5) == 0

        await containers.close()


async def test_an_engine_that_is_too_old_is_said(tmp_path: Path) -> None:
    too_new = reply("400 Bad Request", b'{"message":"client version 1.41 is too new"}')
    async with answering(too_new) as engine:
        containers = Containers(Kind("docker", engine.path), NamedImage("x", ()), Marks("abc", tmp_path))

        probe = await containers.probe()

        await containers.close()
    assert probe.failed is not None
    assert "too old, or none: client version 1.41 is too new" in probe.failed.seen
    assert probe.failed.cure == "Docker 20.10, Podman 4, or newer"


async def test_where_nobody_listens_it_is_said(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "none"))
    with pytest.raises(SandboxUnavailable, match="nobody answers at"):
        await engine.ask("GET", "/info")
    await engine.close()


async def test_input_that_is_the_null_device_is_none_and_a_pipe_is_one() -> None:
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    streams = [Streams(Start(("x",), PROFILE, "t", stdin=fd)) for fd in (-1, null, reading)]

    assert [one.has_input for one in streams] == [False, False, True]
    with pytest.raises(SandboxUnavailable, match="open descriptors"):
        content(reading)
    for one in streams:
        one.close()
    for fd in (reading, writing, null):
        os.close(fd)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("Unknown runtime specified runsc", "install gVisor"),
        ('exec: "/sbin/docker-init": stat: no such file', "apt install tini"),
        ("error setting rlimit type 6: operation not permitted", "default_ulimits"),
        ("crun: cgroups in hybrid mode not supported", 'runtime = "runc"'),
        ("bind source path does not exist: /x", "the same files as this server"),
        ("cgroup-parent for systemd cgroup should be a valid slice", "same cgroup driver"),
        ("seccomp is not enabled in your kernel", "built with seccomp"),
        ("dial unix: permission denied", "let this user use the engine"),
        ("something else", "the engine's log"),
    ],
)
def test_each_usual_fault_of_an_engine_has_its_cure(said: str, cure: str) -> None:
    assert cure in cure_of(said)
