"""A real identity provider beside the tests (npm `oidc-provider`), and a person's browser at it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from tests.needs import missing, program

FOLDER = Path(__file__).parents[2] / "clients" / "provider"
SECRET = "a secret between the two"
_ACTION = re.compile(r'action="([^"]+)"')
_FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@contextmanager
def provider(back: str) -> Generator[str]:
    """Run it with one client whose browser comes back to an address, and give its own."""
    node = program("node", "nodejs")
    if not (FOLDER / "node_modules" / "oidc-provider").exists():
        made = subprocess.run(
            [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=FOLDER, capture_output=True, timeout=180, check=False,
        )  # fmt: skip
        if made.returncode:
            missing("`oidc-provider` is not installed: run `npm ci` in tests/clients/provider")
    with subprocess.Popen(
        [node, "server.mjs", back, SECRET], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


async def agree(url: str, account: str) -> str:
    """Log in and agree as a person does; gives the address that the provider sends the browser back to."""
    home = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    async with httpx.AsyncClient(timeout=20.0) as browser:
        response = await browser.get(url)
        for _ in range(12):
            if response.is_redirect:
                url = urljoin(url, response.headers["location"])
                if not url.startswith(home):
                    return url
                response = await browser.get(url)
                continue
            assert response.status_code == 200, response.text
            action = _ACTION.search(response.text)
            assert action, response.text
            fields = {name: unescape(value) for name, value in _FIELD.findall(response.text)}
            if 'name="login"' in response.text:
                fields |= {"login": account, "password": "any"}
            url = urljoin(url, unescape(action[1]))
            response = await browser.post(url, data=fields)
    raise AssertionError("the provider never sent the browser back")
