"""Presence: a process is known to be alive until it leaves or dies, however it dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from superagent.runtime.presence import Presence

PROGRAM = """
import sys
from pathlib import Path
from superagent.runtime.presence import Presence
presence = Presence(Path(sys.argv[1]))
print(presence.name, flush=True)
sys.stdin.readline()
"""


def test_a_process_is_alive_until_it_is_killed(tmp_path: Path) -> None:
    me = Presence(tmp_path / "presence")
    command = [sys.executable, "-c", PROGRAM, tmp_path / "presence"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert me.alive(name)
        child.kill()
        child.wait(20)
        assert not me.alive(name)
    assert me.alive(me.name)
    me.leave()


def test_who_left_is_gone_and_names_differ(tmp_path: Path) -> None:
    one, other = Presence(tmp_path / "presence"), Presence(tmp_path / "presence")
    assert one.name != other.name
    assert other.alive(one.name)
    one.leave()
    assert not other.alive(one.name)
    other.leave()
    assert (tmp_path / "presence").stat().st_size == 0
