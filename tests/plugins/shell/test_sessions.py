"""`shell.session_*` over HTTP: a real shell at a real terminal that stays, is judged at each use, and ends in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.principal import Credential, Facts, Secret
from superagent.runtime.presence import Presence
from superagent.runtime.sandbox import sessions as held
from superagent.runtime.sandbox import terminal
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
AS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def needed() -> None:
    program("bwrap", "bubblewrap")
    program("/usr/bin/python3", "python3-minimal")


class Shell:
    """A session of one caller."""

    def __init__(self, caller: Caller, opened: dict[str, Any]) -> None:
        self.caller = caller
        self.opened = opened
        self.id: str = opened["session"]

    async def send(self, input: str = "", **more: Any) -> dict[str, Any]:
        """Type something that has to be taken."""
        return await self.caller.done("shell.session_send", {"session": self.id, "input": input, **more})

    async def read(self, since: int = 0, **more: Any) -> dict[str, Any]:
        """Read what was said."""
        return await self.caller.done("shell.session_read", {"session": self.id, "since": since, **more})


async def opened(caller: Caller, **input: Any) -> Shell:
    return Shell(caller, await caller.done("shell.session_open", input))


@pytest_asyncio.fixture(loop_scope="session")
async def shell(agent: Caller) -> AsyncGenerator[Shell]:
    one = await opened(agent)
    yield one
    await agent.call("shell.session_close", {"session": one.id})


# ---- what it is for


@pytest.mark.parametrize("kind", ["bash", "sh"])
async def test_a_session_keeps_its_state_and_says_how_each_command_ended(agent: Caller, kind: str) -> None:
    one = await opened(agent, shell=kind)
    assert (one.opened["at"], one.opened["exit_code"], one.opened["ended"]) == ("prompt", 0, None)

    await one.send("cd /tmp; x=5\n")
    said = await one.send("echo $x in $PWD; (exit 7)\n")

    assert "5 in /tmp\n" in said["text"]
    assert (said["at"], said["exit_code"]) == ("prompt", 7)
    assert said["until"] == pytest.approx(time.time() + 900, abs=5)
    await agent.done("shell.session_close", {"session": one.id})


async def test_variables_of_the_caller_steer_the_shell_and_nothing_before_it(agent: Caller) -> None:
    """What the loader is told must not run code of the caller where the terminal is handed out: see the change."""
    told = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": "/workspace/loaded", "GIVEN": "a b\nc", "TERM": "dumb"}
    one = await opened(agent, env=told)

    said = await one.send(
        "grep -h 'initialize program' loaded.* | sort -u; env | grep -c SUPERAGENT_GIVEN; ls / >/dev/null\n"
    )
    shown = await one.send('echo "$TERM:$GIVEN"\n')

    assert "initialize program: /usr/bin/bash" in said["text"]  # it did reach the shell
    assert "python" not in said["text"]
    assert "\n0\n" in said["text"]
    assert "dumb:a b\nc" in shown["text"]
    problem_of(await agent.call("shell.session_open", {"env": {"1": "x"}}), 422, "invalid-input")
    await agent.done("shell.session_close", {"session": one.id})


async def test_it_is_a_real_terminal_that_can_be_interrupted_and_resized(shell: Shell) -> None:
    said = await shell.send("tty; stty size; [ -t 0 ] && echo yes\n")
    assert "/dev/pts/0\n24 80\nyes" in said["text"]

    waiting = await shell.send("sleep 60\n", timeout_s=0.3)
    assert waiting["at"] == "timeout"
    said = await shell.send(keys=["ctrl-c"])
    assert (said["at"], said["exit_code"]) == ("prompt", 130)

    await shell.caller.done("shell.session_resize", {"session": shell.id, "rows": 40, "cols": 132})
    assert "40 132" in (await shell.send("stty size\n"))["text"]
    large = await opened(shell.caller, pty={"rows": 50, "cols": 200})
    assert "50 200" in (await large.send("stty size\n"))["text"]
    await shell.caller.done("shell.session_close", {"session": large.id})


async def test_what_is_waited_for_is_found_across_what_comes_in_pieces(shell: Shell) -> None:
    said = await shell.send(
        "printf 'half of a '; sleep 0.1; echo 'line: 42 done'; sleep 60\n", wait_for="half*: 4* done"
    )
    assert said["at"] == "match"
    assert (await shell.send(keys=["ctrl-c"], wait_for="^C"))["at"] == "match"


async def test_of_several_lines_the_last_one_is_waited_for(shell: Shell) -> None:
    said = await shell.send("echo one\nsleep 0.3\necho two; (exit 3)\n")
    assert "two\n" in said["text"].replace("echo two", "")
    assert said["exit_code"] == 3


async def test_output_is_read_by_offset(shell: Shell) -> None:
    said = await shell.send("printf 'äöü%.0s' $(seq 100)\n", max_bytes=50)
    assert said["more"]
    text, at = said["text"], said["next"]
    while True:
        page = await shell.read(at, max_bytes=7)
        text, at = text + page["text"], page["next"]
        if not page["more"]:
            break
    assert "äöü" * 100 in text
    assert "\N{REPLACEMENT CHARACTER}" not in text
    assert page["lost"] == 0


async def test_it_works_in_the_workspace_contained_and_recorded(house: House, agent: Caller, shell: Shell) -> None:
    response = await agent.call(
        "shell.session_send", {"session": shell.id, "input": "id > by-session; cat /proc/net/dev | wc -l\n"}
    )

    outcome = response.json()
    assert outcome["isolation"]["level"] == "native"
    assert outcome["isolation"]["network"] == "off"
    assert outcome["effects"] == []
    made = house.data / "views" / outcome["output"]["view"] / "upper" / "by-session"
    assert made.read_text().startswith("uid=1000(sandbox)")
    assert not (agent.workspace / "by-session").exists()
    records = await house.records(invocation=outcome["invocation"])
    assert sorted(one["kind"] for one in records) == ["intent", "outcome"]


async def test_a_secret_is_typed_and_stands_in_no_record(house: House, agent: Caller, shell: Shell) -> None:
    await shell.send("read -rs word\n", wait_for="")
    said = await shell.send(secret="correct horse 9", timeout_s=5)
    assert said["at"] == "prompt"
    assert "correct" not in said["text"]
    assert "[secret" in (await shell.send("echo $word\n", secret="correct horse 9"))["text"]
    found = b"".join(one.read_bytes() for one in (house.data / "state" / "audit").rglob("*") if one.is_file())
    assert b"correct horse" not in found


@promise("1.3a")
async def test_a_secret_that_was_typed_is_shown_by_no_later_reading(shell: Shell) -> None:
    await shell.send("read -rs word\n", wait_for="")
    await shell.send(secret="correct horse 9", timeout_s=5)

    said = await shell.send('echo "<$word>"; printf %s "$word" | base64\n')

    assert "<[secret secret]>\n[secret secret]\n" in said["text"]
    read, since = "", 0
    while since < said["next"]:  # three bytes at a time: no value may come together from pieces
        part = await shell.read(since, max_bytes=3, raw=True)
        read, since = read + part["text"], part["next"]
    assert "<[secret secret]>" in read
    assert "correct" not in read
    for begin in range(said["next"] - 40, said["next"]):  # nor may a reading begin in the middle of one
        assert "horse" not in (await shell.read(begin))["text"]


async def test_a_secret_said_in_two_pieces_is_not_shown_between_them(shell: Shell) -> None:
    await shell.send("read -rs word\n", wait_for="")
    await shell.send(secret="correct horse 9", timeout_s=5)

    first = await shell.send(
        'printf "a:%s" "${word:0:9}"; read -rs; printf "%s:z" "${word:9}"\n', wait_for="a:correct h"
    )
    second = await shell.send("\n", wait_for=":z")

    assert (first["at"], second["at"]) == ("match", "match")
    assert "correct" not in first["text"] + (await shell.read(0))["text"]
    assert "a:" in first["text"]
    assert "[secret secret]:z" in second["text"]


async def test_what_was_said_before_a_value_was_known_as_a_secret_is_not_shown_again(shell: Shell) -> None:
    before = await shell.send("echo correct horse 10 and more\n")
    assert "correct horse 10" in before["text"]

    await shell.send("cat >/dev/null\n", wait_for="")
    await shell.send(secret="correct horse 10", wait_for="")

    assert "correct horse" not in (await shell.read(0))["text"]
    assert "[secret secret] and more" in (await shell.read(0))["text"]


# ---- whose it is


async def test_nobody_else_can_use_or_even_see_a_session(house: House, shell: Shell) -> None:
    other = await house.agent()
    for operation, more in [
        ("send", {"input": "id\n"}), ("read", {}), ("close", {}), ("resize", {"rows": 10, "cols": 20}),
    ]:  # fmt: skip
        for who in (other, house.owner):
            response = await who.call(f"shell.session_{operation}", {"session": shell.id, **more})
            problem_of(response, 404, "not-found")
            records = await house.records(invocation=response.headers["x-invocation-id"])
            assert any(one["kind"] == "outcome" for one in records)
    for guess in ("ses_x", shell.id[:-1] + ("0" if shell.id[-1] != "0" else "1"), "ses_zz_yy_xx"):
        problem_of(await shell.caller.call("shell.session_read", {"session": guess}), 404, "not-found")
    assert (await shell.read())["ended"] is None


async def test_a_session_ends_with_its_key(house: House) -> None:
    agent = await house.agent()
    one = await opened(agent)
    await one.send("sleep 1000 & echo $! >started\n")
    keys = await house.owner.done("access.keys.list", {})
    [key] = [each for each in keys["keys"] if each["name"] == agent.name]

    await house.owner.done("access.keys.revoke", {"id": key["id"]})

    sessions = house.installation.sandbox.sessions
    await until_async(lambda: sessions._open[one.id].ended == "revoked", "its end")  # pyright: ignore[reportPrivateUsage]
    [record] = [each for each in await house.records(text=one.id) if each["kind"] == "event"]
    assert record["detail"]["why"] == "revoked"


async def test_what_policy_closes_later_is_closed_to_a_session_too(house: House, agent: Caller, shell: Shell) -> None:
    (agent.workspace / "private").write_text("x")
    deny = {"effect": "deny", "operations": ["files.read"], "where": {"paths": [f"{agent.workspace}/private"]}}
    made = await house.owner.done("grants.create", {"grant": deny | {"subject": f"agent:{agent.name}"}})

    response = await agent.call("shell.session_send", {"session": shell.id, "input": "cat private\n"})

    assert response.status_code in (403, 404, 409), response.text
    assert house.installation.sandbox.sessions._open[shell.id].ended == "revoked"  # pyright: ignore[reportPrivateUsage]
    await house.owner.done("grants.revoke", {"id": made["id"]})


# ---- how it ends


async def test_a_session_outlives_its_client_and_ends_when_nobody_uses_it(
    house: House, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LOOK_S", 0.05)
    one = await opened(agent, idle_s=5)
    client = house.caller(agent.name, agent.key)
    await client.call("shell.session_send", {"session": one.id, "input": "x=kept\n"})
    await client.http.aclose()
    assert "kept" in (await one.send("echo $x\n"))["text"]

    session = house.installation.sandbox.sessions._open[one.id]  # pyright: ignore[reportPrivateUsage]
    session.idle_s = 0.1
    await one.read()
    await until_async(lambda: session.ended == "idle", "its end")

    await until_async(lambda: session.running.ended, "the end of all that ran in it")
    problem = problem_of(await agent.call("shell.session_send", {"session": one.id, "input": "id\n"}), 409, "conflict")
    assert "idle" in problem["detail"]


async def test_leaving_the_shell_ends_the_session_with_all_that_runs_in_it(agent: Caller) -> None:
    one = await opened(agent)
    said = await one.send("(setsid sleep 1000 &); echo last; exit 3\n")
    assert (said["at"], said["ended"], said["exit_code"]) == ("ended", "exited", 3)
    assert "last" in said["text"]
    assert "last" in (await one.read())["text"]
    problem_of(await agent.call("shell.session_send", {"session": one.id, "input": "id\n"}), 409, "conflict")


async def test_closing_ends_it(agent: Caller) -> None:
    one = await opened(agent)
    assert (await agent.done("shell.session_close", {"session": one.id}))["ended"] == "closed"
    problem = problem_of(await agent.call("shell.session_read", {"session": one.id}), 409, "conflict")
    assert "ended" in problem["detail"]


async def test_after_a_restart_a_session_was_interrupted_for_its_owner_and_never_was_for_others(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as first:
        agent, other = await first.agent(), await first.agent()
        one = await opened(agent)
    async with house_in(tmp_path / "data") as second:
        again, stranger = second.caller(agent.name, agent.key), second.caller(other.name, other.key)
        problem = problem_of(await again.call("shell.session_read", {"session": one.id}), 409, "conflict")
        assert "interrupted" in problem["detail"]
        problem_of(await stranger.call("shell.session_read", {"session": one.id}), 404, "not-found")


async def test_there_are_never_more_than_the_most(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    some = [await opened(agent) for _ in range(held.MOST_OF_ONE)]

    lent = house.caller("lent", (await agent.done("access.delegate", {"name": "lent"}))["key"])
    for who in (agent, lent):
        assert problem_of(await who.call("shell.session_open", {}), 503, "overloaded")["retryable"]

    for one in some:
        await agent.done("shell.session_close", {"session": one.id})
    last = await opened(agent)
    await agent.done("shell.session_close", {"session": last.id})


async def test_an_opening_that_fails_takes_no_room(house: House) -> None:
    agent = await house.agent()
    for _ in range(held.MOST_OF_ONE + 1):
        problem_of(await agent.call("shell.session_open", {"sandbox": "danger-none"}), 503, "sandbox-unavailable")


# ---- what somebody inside could try


async def test_a_report_without_the_marker_is_none(shell: Shell) -> None:
    said = await shell.send(r"printf '\e]133;D;99;aid=x\a' >&9; (exit 5)" + "\n")
    assert said["exit_code"] == 5
    await shell.send(r"yes $'\e]133;D;0;aid=ffff\a' >&9" + "\n", timeout_s=0.3)
    said = await shell.send(keys=["ctrl-c"])  # its echo may be lost: the kernel drops it where the terminal is full
    assert (said["at"], said["exit_code"]) == ("prompt", 130)


async def test_printing_a_report_is_not_reporting(shell: Shell) -> None:
    said = await shell.send("declare -f __superagent_status; (exit 4)\n")
    assert said["exit_code"] == 4
    raw = (await shell.read(said["since"], raw=True))["text"]
    marker = raw.split("aid=")[1].split("\x07")[0]
    assert len(marker) == 32
    said = await shell.send(f"echo '{marker} 0 ]133;D;0;aid={marker}'; (exit 6)\n")
    assert said["exit_code"] == 6


async def test_what_a_terminal_would_act_upon_is_left_out_unless_it_is_asked_for(shell: Shell) -> None:
    line = r"printf 'a\033]0;title\007b\033[31mc\033[0m\033]52;c;ZXZpbA==\007\rd\033Pq#0\033\\e\302\233Kf\b\n'" + "\n"
    said = await shell.send(line)
    text = said["text"].split("\n", 1)[1]
    assert text.startswith("abcdef\n")
    raw = await shell.read(said["since"], raw=True)
    assert "\x1b]0;title\x07" in raw["text"]


async def test_nothing_can_be_put_into_the_terminals_own_input(shell: Shell) -> None:
    code = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')"
    assert "not permitted" in (await shell.send(f'/usr/bin/python3 -c "{code}"\n'))["text"]


async def test_a_flood_waits_for_its_reader_and_harms_nobody(house: House, agent: Caller, shell: Shell) -> None:
    await shell.send("yes\n", wait_for="")
    await until_async(lambda: _terminal(house, shell).end >= terminal.MOST_HELD, "the first MiB")
    before = _terminal(house, shell).end
    times: list[float] = []
    for _ in range(20):
        begun = time.perf_counter()
        await agent.done("access.whoami")
        times.append(time.perf_counter() - begun)
    assert sorted(times)[10] < 0.25
    assert _terminal(house, shell).end - before <= 2 * terminal.CHUNK
    said = await shell.send(keys=["ctrl-c"])
    assert (said["at"], said["exit_code"]) == ("prompt", 130)
    assert (await shell.read(0))["lost"] > 0


async def test_who_says_more_than_the_profile_allows_is_ended(agent: Caller) -> None:
    one = await opened(agent, limits={"output_bytes": 300_000})
    said = await one.send("yes\n", timeout_s=20)
    assert (said["at"], said["ended"]) == ("ended", "output")


async def test_limits_hold_for_the_whole_session(agent: Caller) -> None:
    one = await opened(agent, limits={"cpu_s": 1})
    said = await one.send("while :; do :; done\n", timeout_s=20)
    assert (said["at"], said["ended"]) == ("ended", "cpu")


def _terminal(house: House, shell: Shell) -> terminal.Terminal:
    found = house.installation.sandbox.sessions._open[shell.id].inside  # pyright: ignore[reportPrivateUsage]
    assert isinstance(found, terminal.Terminal)
    return found


async def test_two_senders_take_turns(shell: Shell) -> None:
    first, second = await asyncio.gather(shell.send("sleep 0.2; echo A$((1+1))\n"), shell.send("echo B$((1+1))\n"))
    assert "A2" in first["text"]
    assert "B2" not in first["text"]
    assert "B2" in second["text"]


async def test_a_session_of_another_worker_is_said_to_be_there(house: House, agent: Caller, shell: Shell) -> None:
    other = Presence(house.data / "state" / "presence")
    sessions = house.installation.sandbox.sessions
    shown = Credential("bearer", Secret(agent.key), Facts("127.0.0.1", "", "http"))
    who = await house.installation.kernel.identify(shown)
    tag = sessions._tag(who, other.name, "0123")  # pyright: ignore[reportPrivateUsage]
    id = f"ses_{other.name}_0123_{tag}"
    problem = problem_of(await agent.call("shell.session_read", {"session": id}), 503, "unavailable")
    assert "another worker" in problem["detail"]
    other.leave()
    problem = problem_of(await agent.call("shell.session_read", {"session": id}), 409, "conflict")
    assert "interrupted" in problem["detail"]
