"""What a token that lacks a scope is told at doors that may tell."""

from __future__ import annotations

from superagent.core.problems import Denied
from superagent.surfaces.http.reply import short_of_scope


def test_the_challenge_names_the_scope_and_where_to_ask_for_it() -> None:
    reply = short_of_scope(Denied("the token lacks a scope"), "https://a.example", "/mcp", "files.read:read", "01")

    assert reply.status == 403
    assert [value for name, value in reply.headers if name == b"www-authenticate"] == [
        b'Bearer error="insufficient_scope", scope="files.read:read", '
        b'resource_metadata="https://a.example/.well-known/oauth-protected-resource/mcp"'
    ]
    assert (b"x-invocation-id", b"01") in reply.headers
