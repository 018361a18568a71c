"""CPU time and memory are counted for a whole process tree, and a port belongs to who listens on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bench.proc import Stat, cpu_of, listeners, listens, parse_stat, rss_of, tree
from tests.until import until

# a process whose name tries to look like the end of its field
LINE = "4242 (a) R (b) S 17 4242 4242 0 -1 4194304 900 0 0 0 250 50 30 20 20 0 1 0 1234 1000 200 18446744073709551615"
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0
   1: 0100007F:22B9 0100007F:22B8 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0 100 0 0 10 0
"""
BURN = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\nsys.stdin.read()"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])"


def test_a_stat_line_counts_ended_children_and_survives_brackets_in_a_name() -> None:
    assert parse_stat(LINE, ticks_per_s=100) == Stat(4242, 17, 2.8, 0.7)


def test_a_tree_is_a_process_and_all_that_descend_from_it() -> None:
    stats = [Stat(pid, parent, 0, 0) for pid, parent in ((1, 0), (2, 1), (3, 2), (4, 2), (5, 1))]
    assert {stat.pid for stat in tree(2, stats)} == {2, 3, 4}
    assert tree(9, stats) == []


def test_work_of_a_child_counts_for_its_parent_while_it_runs_and_after() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        assert parent.stdout.readline() == "burnt\n"
        running = cpu_of(parent.pid)
        assert running.total_s >= 0.29
        assert rss_of(parent.pid) > rss_of(os.getpid()) / 100
        parent.stdin.close()
        assert parent.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        cpu_of(parent.pid)
    assert rss_of(parent.pid) == 0


def test_what_was_used_since_is_the_difference() -> None:
    before = cpu_of(os.getpid())
    assert cpu_of(os.getpid()).since(before).total_s >= 0


def test_only_listening_sockets_are_listed() -> None:
    assert listeners(TCP) == {0x22B8: 777}


def test_a_port_belongs_to_the_process_that_listens_and_to_no_other() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert not listens(os.getpid(), port)
        listening.listen()
        assert listens(os.getpid(), port)
        with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
            until(lambda: rss_of(other.pid), "the other process")
            assert not listens(other.pid, port)
            other.kill()
