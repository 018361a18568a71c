"""One attack: what it tries, the text that tries it, what it needs, and how its end is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.attack.ground import Ground, Victim
from tests.attack.runner import Ask, Ended, Limits
from tests.attack.way_out import WayOut
from tests.needs import program

Group = Literal["files", "processes", "memory", "disk", "cpu", "output", "environment", "kernel", "network", "escapes"]

PRELUDE = Path(__file__).with_name("prelude.py")
STARTED, ESCAPED, HELD = b"STARTED", b"ESCAPED", b"HELD"


@dataclass(frozen=True, slots=True)
class Case:
    """An attack.

    `payload` is Python (see prelude.py for what it may use) or, where `language` says so, sh with `$1` the workspace,
    `$2` the folder outside, `$3` the token and `$4` a port. `control` says as whom it works uncontained: as the
    sandbox's user, only as root, or only as a user of this test alone, since everything of that user is attacked;
    `careless` is a sandbox that pastes requests together without looking. `stopped` means that being ended by a limit
    is how it is held. `partial` names, for a setting, the limit that does not hold it there and that every result there
    must then report as partial or none.
    """

    id: str
    group: Group
    tries: str
    payload: str
    victims: tuple[Victim, ...] = ()
    known_as: str = ""
    control: Literal["same", "root", "private", "careless"] = "same"
    stopped: bool = False
    partial: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Limits = field(default_factory=Limits)
    language: Literal["python", "sh"] = "python"
    everyday: bool = False
    shape: Callable[[Ground, Ask], Ask] | None = None
    """Changes what is asked for: for attacks by the request itself, not by the command."""
    way_out: WayOut | None = None
    """Has a network, which only the levels have that judge it by name."""
    own_network: bool = False
    """Runs in a network namespace of the test, which has the cloud's metadata address."""

    def not_held(self, setting: str) -> str:
        """Name the limit that does not hold it in a setting.

        What a level cannot hold, its back end cannot either, nor can a sandbox of it that waited.
        """
        known = (setting, setting.removeprefix("backed_"), setting.replace("pooled", "backed"))
        return next((self.partial[one] for one in known if one in self.partial), "")

    def ask(self, ground: Ground) -> Ask:
        """Give the command to run on this ground."""
        if self.language == "sh":
            port = str(ground.given.get("tcp", ""))
            text = f"echo STARTED\n{self.payload}"
            argv = ("/bin/sh", "-c", text, "sh", ground.inside, str(ground.folder), ground.token, port)
        else:
            argv = (program("python3"), "-I", "-S", "-c", PRELUDE.read_text("utf-8"), ground.said(), self.payload)
        ask = Ask(argv, ground.workspace, ground.stdin, ground.terminal, limits=self.limits, way_out=self.way_out)
        return self.shape(ground, ask) if self.shape else ask


@dataclass(frozen=True, slots=True)
class Verdict:
    """`void` is neither: the attack was not tried as it is written, so nothing is shown."""

    kind: Literal["held", "escaped", "void"]
    why: str


def judge(case: Case, ground: Ground, ended: Ended) -> Verdict:
    """Say how an attack ended: what was done to a victim counts more than what the attack says of itself."""
    if harm := ground.harm():
        return Verdict("escaped", harm)
    most = case.limits.output_bytes
    if max(len(ended.stdout), len(ended.stderr)) > most:
        return Verdict("escaped", "more output was kept than is allowed")
    lines = ended.stdout.splitlines()
    for line in lines:
        if line.startswith(ESCAPED):
            return Verdict("escaped", line.decode("utf-8", "replace"))
    if STARTED not in lines and case.shape is None:
        return Verdict("void", f"it did not start: {ended.code} {_tail(ended)}")
    for line in lines:
        if line.startswith(HELD):
            return Verdict("held", line.decode("utf-8", "replace"))
    if len(ended.stdout) == most:
        return Verdict("held", "the output was cut")
    if case.stopped and (ended.code > 128 or ended.code == 1):
        return Verdict("held", f"ended by a limit ({ended.code})")
    if case.shape is not None:
        return Verdict("held", f"not run as asked ({ended.code}) {_tail(ended)}")
    return Verdict("void", f"it said nothing: {ended.code} {_tail(ended)}")


def _tail(ended: Ended) -> str:
    return ended.stderr.decode("utf-8", "replace")[-2000:]
