"""What the README and the guides show runs as it stands."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from a2a.types.a2a_pb2 import TaskState

from docs_src.a2a_session import session as a2a_session
from docs_src.mcp_session import session
from docs_src.seal import seal
from docs_src.service import report
from superagent.app import open_installation
from superagent.core.grants import Grant
from superagent.core.invocation import Call
from superagent.runtime.sandbox.bubblewrap import find_bubblewrap
from superagent.settings import load
from tests.crash.platform import serving
from tests.promise import promise

ROOT = Path(__file__).parents[2]


def shell(script: str, data: Path, url: str, cwd: Path = ROOT, **more: str) -> str:
    """Run a script of docs_src as a reader would, on another data folder and port."""
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", (ROOT / "docs_src" / script).read_text()],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(data), "SUPERAGENT_DATA": str(data), "SUPERAGENT_URL": url} | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_five_minutes_of_the_readme(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("tour.sh", data, server.url)
        assert "+Hello, agents" in shown
        assert "Hello, world" in shown
        assert not (data / "workspaces/default/owner/hello.txt").exists()
        for time in (1, 2):  # whoever runs it again gets the same
            shown = shell("agent.sh", data, server.url)
            assert '"status":"waiting"' in shown
            assert '"status":"done"' in shown.rstrip().splitlines()[-1]
            plans = [one.read_text() for one in (data / "workspaces/default").glob("builder-*/plan.md")]
            assert plans == ["# Plan\n"] * time


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_programs_of_the_guide_are_connected_and_disconnected(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("connect.sh", data, server.url)
    assert "Cursor is connected" not in shown  # that is said beside the result
    assert '"--toolsets",' in shown
    assert '"name": "files_write"' in shown
    assert list((data / ".cursor").iterdir()) == []  # the file was made for the entry, and went with it


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_mcp_server_of_the_guide_becomes_an_operation(tmp_path: Path) -> None:
    # words/server.py, contained
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("mcp-servers.sh", data, server.url)
    assert "3" in [line.split()[-1] for line in shown.splitlines() if line.split()]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_query_of_the_guide_is_answered_with_304_as_long_as_it_holds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("query.sh", data, server.url)
    assert re.findall(r"HTTP/1\.1 (\d+)", shown) == ["200", "304"]
    assert "# Plan" not in shown.partition("HTTP/1.1 304")[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_agent_gets_exactly_what_the_guide_says(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("exactly.sh", data, server.url)
        lines = shown.splitlines()
        answers = [json.loads(one) for one in lines if one.startswith('{"')]
        assert [one.get("status") for one in answers] == ["done", 404, "done", "done", 404, 401]
        assert answers[2]["output"]["budgets"][0]["whose"] == "agent:reporter"
        assert (data / "workspaces/default/reporter/reports/today.md").read_text() == "# Today\n"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_view_of_the_guide_is_looked_at_and_accepted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("views.sh", data, server.url)
    assert shown.count("+++ b/views.txt\n@@ -0,0 +1 @@\n+hello\n") == 2
    assert '"sha256"' not in shown
    assert "waiting" in shown
    assert (data / "workspaces/default/owner/views.txt").read_text() == "hello\n"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_several_commands_of_the_guide_go_on_in_one_view(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("several_commands.sh", data, server.url)
    assert "+++ b/notes/today.txt" in shown
    assert "+1 notes/today.txt\n" in shown
    assert not (data / "workspaces/default/owner/notes").exists()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_commands_of_the_guide_run_contained(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("commands.sh", data, server.url)
    assert "memory limit" in shown
    assert "uid=1000(sandbox)" in shown
    assert "No such file or directory" in shown
    assert '"level": "native"' in shown
    assert "unique.txt" in shown
    assert "rehearsed without a network" in shown
    assert (data / "workspaces/default/owner/greeting.txt").read_text() == "hello\n"
    assert "\nstdout:\n42\n" in shown


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_sessions_of_the_guide_keep_their_state(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("sessions.sh", data, server.url)
    assert "42 in /tmp" in shown
    assert '"exit_code": 130' in shown
    assert '"stdout": "[1, 2, 6]\\n"' in shown
    assert '"json": 3' in shown


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_jobs_of_the_guide_are_followed_and_repeated(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("jobs.sh", data, server.url)
    assert "step 1\nstep 2\nstep 3\n" in shown
    assert "nightly" in shown


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_the_database_of_the_guide_is_read_changed_and_put_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("sql.sh", data, server.url)
    assert "bo 20" in shown
    assert '+{"id": 1, "who": "ada", "paid": 0}' in shown
    assert "30" in [line.split()[-1] for line in shown.splitlines() if line.split()]
    with serving(data) as server:
        moved = shell("sql-moving.sh", data, server.url)
    workspace = data / "workspaces" / "default" / "owner"
    assert (workspace / "orders.csv").read_text() == "who,paid\nada,10\nbo,20\n"
    assert (workspace / "orders-again.db").stat().st_size > 0
    assert "0001" in moved


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_sign_in_of_the_guide_goes_by_cookie_and_token(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("sign-in.sh", data, server.url)
    assert '"kind":"human"' in shown
    assert "needs the token against forged requests" in shown
    assert '"way":"recover"' in shown
    assert "signin.done" in shown


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_processes_of_the_guide_are_ended_exactly(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("processes.sh", data, server.url)
    assert "TERM" in shown


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_what_the_readme_runs_is_contained_logged_explained_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("run.sh", data, server.url)
    assert "uid=1000(sandbox)" in shown
    assert "+hello" in shown
    assert "one\ntwo\n" in shown
    assert "add(a, b)" in shown
    assert '"repr": "42"' in shown
    assert (data / "workspaces/default/owner/greeting.txt").read_text() == "hello\n"


@pytest.mark.parametrize("file", ["grants.json", "secret-grants.json"])
def test_the_grants_of_the_guide_are_grants(file: str) -> None:
    for one in json.loads((ROOT / "docs_src" / file).read_text()):
        assert Grant.model_validate(one).effect == one["effect"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_secrets_of_the_guide_are_put_rotated_and_taken_back(tmp_path: Path) -> None:
    """Run docs_src/secrets.sh."""
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("secrets.sh", data, server.url)
        names = server.call("secrets.list")["secrets"]
        assert [(one["name"], one["version"]) for one in names] == [("github-token", 2)]
        assert server.call("connections.list")["connections"][0]["host"] == "api.github.com:443"
    assert "github-token" in shown


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_approvals_of_the_guide_are_asked_given_and_over(tmp_path: Path) -> None:
    """Run docs_src/approvals.sh."""
    data = tmp_path / "data"
    with serving(data) as server:
        shell("approvals.sh", data, server.url)
        shown = shell("approvals.sh", data, server.url)  # again
    assert shown.count('"trust":"untrusted"') >= 2  # the two files elsewhere
    assert "caller:reviewer-" in shown
    assert '"status":"waiting"' in shown
    drafts = [one.read_text() for one in (data / "workspaces/default").glob("reviewer-*/draft.md")]
    assert drafts == ["# Draft\n"] * 2


async def test_the_plugin_of_the_guide_signs_with_a_secret_that_nobody_sees(tmp_path: Path) -> None:
    """Run docs_src/seal.py."""
    async with open_installation(load(tmp_path / "data", environ={}), extra=(seal,)) as here:
        owner = await here.owner()
        put = Call("secrets.put", {"name": "webhook-key", "value": "a long and random value"})
        assert (await here.kernel.run(put, owner, "cli")).problem is None
        signed = await here.kernel.run(Call("seal.sign", {"text": "hello", "secret": "webhook-key"}), owner, "cli")
        assert signed.result() == {"signature": hmac.digest(b"a long and random value", b"hello", "sha256").hex()}
        given, _ = await here.index.query("default", operation="secrets.resolve")
        assert [one["detail"]["for"] for one in given] == ["job signing"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_policy_of_the_guide_is_explained_changed_and_taken_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("policy.sh", data, server.url)
    assert "allows files.* (READ) on /srv/app/**" in shown
    assert "no grant allows this, and none forbids it" in shown
    assert "denies files.read on /srv/app/secrets/**, to agent:reader" in shown
    assert "flipped   0" in shown
    assert "the policy in force is what the file says" in shown
    assert '@id("role:everybody:1")' in shown


@pytest.mark.slow
def test_the_tokens_of_the_guide_are_given_used_and_given_up(tmp_path: Path) -> None:
    """Run docs_src/oauth.sh and docs_src/service.py."""
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("oauth.sh", data, server.url)
        made = server.call("access.clients.create", name="reporter", kind="service", scopes=["files.*"])
        listed = report(server.url, made["id"], made["secret"])
    assert '"status":"done"' in shown
    assert '"status":404' in shown or '"status":403' in shown
    assert '"active": true' in shown
    assert '"active": false' in shown
    assert "files.*:read" in shown
    assert "television" in shown
    assert listed["path"].endswith(made["id"])


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_agent_of_the_guide_connects_by_mcp(tmp_path: Path) -> None:
    """Run docs_src/mcp.sh, docs_src/mcp-http.sh and docs_src/mcp_session.py."""
    data = tmp_path / "data"
    with serving(data) as server:
        shell("mcp.sh", data, server.url)
        shown = shell("mcp.sh", data, server.url)  # again
        printed = [json.loads(line) for line in shell("mcp-http.sh", data, server.url).splitlines()]
        key = server.call("access.keys.create", name="by-mcp")["key"]
        found, wrote, read, back = asyncio.run(session(server.url, key))
    assert '"protocolVersion":"2025-11-25"' in shown
    assert "files.write" in {one["name"] for one in found["output"]["operations"]}
    assert wrote["undo"]["possible"]
    assert read["output"]["content"] == "by MCP\n"
    assert back["status"] == "done"
    assert [one["status"] for one in printed] == ["done"] * 4


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_proof_of_the_verifiers_page_is_got_and_whole(tmp_path: Path) -> None:
    """Run docs_src/proof.sh."""
    data, here = tmp_path / "data", tmp_path / "here"
    here.mkdir()
    for name in ("verifier", ".venv"):
        (here / name).symlink_to(ROOT / name)
    with serving(data) as server:
        shown = shell("proof.sh", data, server.url, here)
    assert "saved in audit.tar.gz" in shown
    assert shown.rstrip().endswith("WHOLE: nothing was rewritten")


@promise("2.1b")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_agent_of_the_guide_connects_by_a2a(tmp_path: Path) -> None:
    """Run docs_src/a2a_session.py, as a function and as a script."""
    with serving(tmp_path / "data") as server:
        key = server.call("access.keys.create", name="by-a2a")["key"]
        sent, got = asyncio.run(a2a_session(server.url, key))
        said = {"SUPERAGENT_URL": server.url, "SUPERAGENT_API_KEY": key}
        script = [sys.executable, str(ROOT / "docs_src" / "a2a_session.py")]
        printed = subprocess.run(script, env={**os.environ, **said}, capture_output=True, text=True, timeout=120)
    assert sent.status.state == TaskState.TASK_STATE_COMPLETED
    assert (got.id, got.artifacts) == (sent.id, sent.artifacts)
    assert printed.stdout.count("TASK_STATE_COMPLETED") == 2, printed.stderr


def test_no_script_of_the_guide_has_the_name_of_a_package_that_it_may_use() -> None:
    """Of a script that is run, the folder comes first where Python looks."""
    stems = [one.stem for one in (ROOT / "docs_src").glob("*.py")]
    assert "a2a_session" in stems
    assert [one for one in stems if find_spec(one) is not None] == []
