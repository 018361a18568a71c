"""Policy: what is in force and why, what a change would do, and changing it: proposed by anybody, applied by people."""

from __future__ import annotations

from superagent.sdk import Plugin

from . import changing, exchanging, looking, trying
from .model import Bench, Book


def plugin(book: Book, bench: Bench) -> Plugin:
    """Make the plugin over the policy book and the bench."""
    policy = Plugin("policy")
    looking.declare(policy, book, bench)
    trying.declare(policy, book, bench)
    exchanging.declare(policy, book, bench)
    changing.declare(policy, book, bench)
    return policy
