"""The resolver: the machine's own, in threads of its own, so that slow answers hold up nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Give the addresses of a name. Raises `OSError`."""


def system_resolver(pool: Executor) -> Resolve:
    """Give the resolver of this machine; each look-up blocks one thread of the pool."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        # the context comes along: the guard looks there for what is permitted
        context = contextvars.copy_context()

        def ask() -> list[str]:
            return [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(ask))

    return resolve
