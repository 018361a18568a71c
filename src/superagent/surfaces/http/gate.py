"""The gate: who calls. Whoever shows no valid key goes no further, and is recorded."""

from __future__ import annotations

from superagent.core.kernel import Kernel
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Unauthenticated
from superagent.surfaces.http.request import Headers, Scope, headers_of, remote_of, token_of


class Gate:
    """Recognise callers by the key in their request."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def identify(self, scope: Scope, headers: Headers) -> Principal:
        """Give who calls. Raises `Unauthenticated`."""
        remote = remote_of(scope, headers)
        try:
            token = token_of(headers)
        except Unauthenticated as problem:
            self._kernel.pipeline.refuse_stranger(problem, Facts(remote, "", "http"))
            raise
        known = self._kernel.known(token, remote, "http")
        if known is not None:
            return known
        return await self._kernel.identify(Credential("bearer", Secret(token), Facts(remote, "", "http")))

    async def admit(self, scope: Scope) -> Principal:
        """Give who asks for something that is no operation, and charge it. Raises `Unauthenticated`, `RateLimited`."""
        principal = await self.identify(scope, headers_of(scope))
        self._kernel.beside(principal)
        return principal
