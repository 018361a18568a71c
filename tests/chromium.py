"""A real Chromium without a window, spoken to over a pipe by the DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.needs import program

PATIENCE_S = 60.0


class Chromium:
    """One page of a browser."""

    def __init__(self, into: int, out: int) -> None:
        self._into = into
        self._out = out
        self._numbers = itertools.count(1)
        self._left = b""
        self._session = ""
        target = self.say("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.say("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.say("Page.enable")

    def say(self, method: str, **parameters: Any) -> Any:
        """Send a command and give its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._out, 65536)
            assert more, "the browser has gone"
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        return json.loads(line)

    def go(self, url: str) -> None:
        """Open an address."""
        self.say("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Run a script in the page and give its value."""
        return self.say("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until a script gives something that holds."""
        end = time.monotonic() + PATIENCE_S
        while not (found := self.run(script)):
            assert time.monotonic() < end, self.run("location.href + document.body.innerText")
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        """Wait for something and click it."""
        name = json.dumps(selector)
        self.until(f"(() => {{ const e = document.querySelector({name}); return e && !e.hidden; }})()")
        # as a person does: passkeys want a user's gesture
        self.say("Runtime.evaluate", expression=f"document.querySelector({name}).click()", userGesture=True)


@contextmanager
def chromium(folder: Path) -> Generator[Chromium]:
    """Start Chromium with a fresh profile and give its page. Skips the test where it is not installed."""
    found = program("chromium")
    for_it, into = os.pipe()
    out, from_it = os.pipe()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = [found, *flags, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    # it reads from descriptor 3 and writes to 4
    shell = f'exec "$@" 3<&{for_it} 4>&{from_it}'
    with subprocess.Popen(
        ["bash", "-c", shell, "chromium", *command],
        pass_fds=(for_it, from_it), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(folder)},
    ) as process:  # fmt: skip
        os.close(for_it)
        os.close(from_it)
        try:
            yield Chromium(into, out)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(into)
            os.close(out)
