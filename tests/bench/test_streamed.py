"""The stream's client takes the frames of a chunked reply apart, however the bytes come in, and counts the answers."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import streamed


def framed(parts: list[bytes]) -> bytes:
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_the_payload_is_the_same_wherever_the_network_cut_it(parts: list[bytes], cuts: list[int]) -> None:
    wire = framed(parts)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    chunks = streamed.Chunked()
    found = [part for start, end in itertools.pairwise(edges) for part in chunks.feed(wire[start:end])]
    assert found == parts
    assert chunks.ended


async def served(status: str, answers: list[bytes]) -> tuple[int, asyncio.Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for answer in answers:
            await reader.readuntil(b"}\n\r\n")
            writer.write(f"{len(answer):x}\r\n".encode() + answer + b"\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1], server


async def test_answers_are_counted_and_failed_ones_apart() -> None:
    port, server = await served("200 OK", [b'{"status":"done"}\n', b'{"status":"failed"}\n', b'{"status":"done"}\n'])
    async with server:
        assert await streamed.run(port, {"X": "y"}, b'{"id":1}', calls=3, window=2) == (3, 1)


async def test_a_refused_stream_is_no_measurement() -> None:
    port, server = await served("401 Unauthorized", [])
    async with server:
        with pytest.raises(RuntimeError, match="refused"):
            await streamed.run(port, {}, b'{"id":1}', calls=3, window=2)


async def test_a_stream_that_ends_early_is_no_measurement() -> None:
    port, server = await served("200 OK", [b'{"status":"done"}\n'])
    async with server:
        with pytest.raises(RuntimeError, match="after 1 answers"):
            await streamed.run(port, {}, b'{"id":1}', calls=3, window=1)
