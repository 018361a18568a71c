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


class _Pipe:
    """The one line to a browser, on which the pages of all tabs are spoken to."""

    def __init__(self, into: int, out: int) -> None:
        self._into = into
        self._out = out
        self._numbers = itertools.count(1)
        self._left = b""

    def ask(self, message: dict[str, Any]) -> Any:
        """Send a command and give its result."""
        number = next(self._numbers)
        os.write(self._into, json.dumps({"id": number} | message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]

    def heard(self, method: str) -> Any:
        """Wait for something that the browser says by itself, and give what it says of it."""
        while True:
            said = self._next()
            if said.get("method") == method:
                return said["params"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._out, 65536)
            assert more, "the browser has gone"
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        return json.loads(line)


class Chromium:
    """One page of a browser."""

    def __init__(self, pipe: _Pipe, context: str | None = None) -> None:
        self._pipe = pipe
        self._context = context
        new = {"url": "about:blank"} | ({"browserContextId": context} if context else {})
        self._target = pipe.ask({"method": "Target.createTarget", "params": new})["targetId"]
        attach = {"method": "Target.attachToTarget", "params": {"targetId": self._target, "flatten": True}}
        self._session = pipe.ask(attach)["sessionId"]
        self.say("Page.enable")

    def tab(self) -> Chromium:
        """Open another tab of the same browser: what it keeps is shared."""
        return Chromium(self._pipe, self._context)

    def stranger(self) -> Chromium:
        """Open a tab that shares nothing with this browser's others: no cookie, nothing kept."""
        context = self._pipe.ask({"method": "Target.createBrowserContext", "params": {}})["browserContextId"]
        return Chromium(self._pipe, context)

    @contextmanager
    def traced(self) -> Generator[list[dict[str, Any]]]:
        """Fill a list with what the browser did within the block (trace events)."""
        events: list[dict[str, Any]] = []
        wanted = {"includedCategories": ["toplevel", "devtools.timeline"]}
        self.say("Tracing.start", transferMode="ReturnAsStream", traceConfig=wanted)
        yield events
        self.say("Tracing.end")
        handle = self._pipe.heard("Tracing.tracingComplete")["stream"]
        text = ""
        while True:
            part = self.say("IO.read", handle=handle)
            text += part["data"]
            if part["eof"]:
                events += json.loads(text)["traceEvents"]
                return

    def close(self) -> None:
        """Close this tab."""
        self._pipe.ask({"method": "Target.closeTarget", "params": {"targetId": self._target}})

    def say(self, method: str, **parameters: Any) -> Any:
        """Send a command and give its result."""
        return self._pipe.ask({"method": method, "params": parameters, "sessionId": self._session})

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
            yield Chromium(_Pipe(into, out))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(into)
            os.close(out)
