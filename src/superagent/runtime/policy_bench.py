"""The policy bench: trying out what policy says, to whom and after which change, without any of it happening."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superagent.core.explaining import Explained, Explainer, Supposed
from superagent.core.grants import Grant
from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.core.policy import Policy
from superagent.core.principal import Principal
from superagent.core.problems import Denied, NotFound
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.policies import SqlPolicies


class PolicyBench:
    """The installation's people, operations and policies, for questions."""

    def __init__(self, kernel: Kernel, identity: SqlIdentity, policies: SqlPolicies) -> None:
        self._kernel = kernel
        self._identity = identity
        self._policies = policies
        self._explainer = Explainer(kernel)

    async def acting(self, tenant: str, subject: str) -> Principal | None:
        """Give who a subject is, None for nobody."""
        return await self._identity.acting(tenant, subject)

    async def explain(
        self, principal: Principal, operation: str, input: Mapping[str, Any] | None, supposed: Supposed
    ) -> Explained:
        """Say what would come of a call: by policy, and by what the operation itself refuses whoever may call it."""
        told = self._explainer.explain(principal, operation, input, supposed)
        found = self._kernel.find(operation)
        if input is None or told.verdict != "allow" or told.facts is None or found is None or found.refuses is None:
            return told
        try:
            await found.refuses(principal, dict(told.facts.args))
        except NotFound:
            pass  # policy permits it, and it would find nothing
        except Denied as refused:
            return replace(told, verdict="deny", problem=refused)
        return told

    def in_force(self, tenant: str) -> Policy:
        """Give the snapshot in force."""
        return self._policies.of(tenant)

    def changed(self, tenant: str, added: Sequence[Grant], removed: Sequence[str]) -> Policy:
        """Give a snapshot that differs by so much, in force nowhere."""
        return self._policies.supposed(tenant, added, frozenset(removed))

    def operations(self) -> list[Operation]:
        """Give all that is installed."""
        return list(self._kernel.registry)

    def find(self, operation: str) -> Operation | None:
        """Give an operation, None when it is not installed."""
        return self._kernel.find(operation)
