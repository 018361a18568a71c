"""Cedar, an engine of others, decides the exported policy as we decide the policy itself."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.core.cedar_oracle import Oracle
from tests.core.random_policies import Draw
from tests.promise import promise

REQUESTS_A_POLICY = 40


def agreed(policies: int, first_seed: int) -> Counter[str]:
    """Compare on random policies with random requests each; gives how often each verdict was agreed on."""
    verdicts: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + policies):
        draw = Draw(seed)
        policy = draw.policy()
        oracle = Oracle(policy)
        for _ in range(REQUESTS_A_POLICY):
            request = draw.request()
            ours = policy.decide(request.principal, request.operation, request.resources, request.facts).verdict
            assert ours == oracle.verdict(request), f"seed {seed}: {request}\n{oracle.text}"
            verdicts[ours] += 1
    return verdicts


VERDICTS = ("allow", "ask", "step_up", "deny")


@pytest.mark.parametrize("first_seed", range(0, 40, 10))
@promise("1.1b")
def test_cedar_decides_random_requests_as_we_do(first_seed: int) -> None:
    verdicts = agreed(policies=10, first_seed=first_seed)
    assert verdicts.total() == 400
    assert set(verdicts) == set(VERDICTS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@promise("1.1b")
def test_cedar_decides_a_hundred_thousand_random_requests_as_we_do() -> None:
    verdicts = agreed(policies=2600, first_seed=1_000_000)
    assert verdicts.total() == 104_000
    # none is so rare that agreement on it would mean nothing
    assert min(verdicts[one] for one in VERDICTS) > 0.05 * verdicts.total(), verdicts
