"""A service that fetches its own token and uses it; any OAuth 2.1 library does the same."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def asked(url: str, body: str, authorization: str) -> Any:
    """Post a body and give the JSON that comes back."""
    with urlopen(Request(url, body.encode(), {"Authorization": authorization})) as answer:
        return json.load(answer)


def report(base: str, client_id: str, client_secret: str) -> Any:
    """List the service's own files with a token that can read them and nothing else."""
    who = b64encode(f"{client_id}:{client_secret}".encode()).decode()
    wanted = urlencode({"grant_type": "client_credentials", "scope": "files.*:read"})
    token = asked(f"{base}/oauth/token", wanted, f"Basic {who}")["access_token"]
    return asked(f"{base}/v1/operations/files.list", '{"path": "."}', f"Bearer {token}")["output"]
