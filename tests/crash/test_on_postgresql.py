"""The whole platform on PostgreSQL, with two worker processes: used, killed, moved there while it runs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.platform import Server, records, serving
from tests.postgresql import Server as Postgres
from tests.postgresql import database_of
from tests.promise import promise
from tests.surfaces.cli.command_line import superagent
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def url(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    found = postgres.url(str(tmp_path))
    monkeypatch.setenv("SUPERAGENT_DATABASE__URL", found)
    return found


def rows(postgres: Postgres, tmp_path: Path, table: str) -> int:
    ((found,),) = postgres.run(f"SELECT count(*) FROM {table}", database_of(str(tmp_path)))  # noqa: S608
    assert isinstance(found, int)
    return found


@pytest.mark.usefixtures("url")
def test_two_workers_serve_change_and_undo_and_see_a_key_end_within_a_second(
    tmp_path: Path, postgres: Postgres
) -> None:
    data, file = tmp_path / "data", str(tmp_path / "data" / "workspaces" / "default" / "owner" / "note")
    with serving(data, "--workers", "2") as server:
        server.call("files.write", path=file, content="one")
        server.call("files.write", path=file, content="two")
        assert server.call("files.read", path=file)["content"] == "two"
        with server.client() as client:
            last = client.post("/v1/operations/files.write", json={"path": file, "content": "three"})
            assert client.post(f"/v1/invocations/{last.json()['invocation']}/undo", json={}).status_code == 200
        assert server.call("files.read", path=file)["content"] == "two"

        made = server.call("access.keys.create", name="builder")

        def answers() -> list[int]:
            found: list[int] = []
            for _ in range(6):  # each time another connection: any worker may take it
                with server.client(made["key"]) as client:
                    found.append(client.post("/v1/operations/access.whoami", json={}).status_code)
            return found

        until(lambda: answers() == [200] * 6, "a key that every worker knows")
        server.call("access.keys.revoke", id=made["id"])
        until(lambda: answers() == [401] * 6, "a key that no worker takes any more", 5.0)
        assert server.call("audit.verify")["ok"]
    assert not (data / "state" / "superagent.db").exists()
    assert rows(postgres, tmp_path, "identity_keys") == 2
    assert server.process.returncode == 0


@promise("6.6")
@pytest.mark.usefixtures("url")
def test_after_kill_9_every_answered_change_is_there_and_known(tmp_path: Path, postgres: Postgres) -> None:
    data, folder = tmp_path / "data", tmp_path / "data" / "workspaces" / "default" / "owner"
    server = Server(data, "--workers", "2")
    answered: list[dict[str, Any]] = []

    def write(lane: int) -> None:
        with server.client() as client:
            for number in range(10_000):
                try:
                    path = str(folder / f"{lane}-{number}")
                    reply = client.post("/v1/operations/files.write", json={"path": path, "content": f"{number}"})
                except httpx.HTTPError:
                    return
                answered.append({"path": path, "content": f"{number}", "id": reply.json()["invocation"]})

    writers = [threading.Thread(target=write, args=(lane,), daemon=True) for lane in range(4)]
    for one in writers:
        one.start()
    until(lambda: len(answered) >= 60, "some answers", 60.0)
    server.kill()
    for one in writers:
        one.join(20)
    known = {one["invocation"] for one in records(data) if one["kind"] == "intent"}
    with serving(data) as again:
        for one in answered:
            assert one["id"] in known
            assert Path(one["path"]).read_text() == one["content"]
        undone = again.call("undo.apply", ids=[answered[-1]["id"]])
        assert undone
        assert not Path(answered[-1]["path"]).exists()
        assert again.call("audit.verify")["ok"]
    assert rows(postgres, tmp_path, "undo_entries") >= len(answered)


@promise("6.6")
def test_an_installation_moves_while_its_server_runs_and_goes_on_there(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, url = tmp_path / "data", postgres.url(str(tmp_path))
    file = str(data / "workspaces" / "default" / "owner" / "note")
    with serving(data) as server:
        server.call("files.write", path=file, content="kept")
        made = server.call("access.keys.create", name="builder")

        moved = superagent("migrate-to", "-", "--json", data=data, stdin=url.encode())

        assert moved.code == 0, moved.err
        assert moved.document["tables"]["identity_keys"]["rows"] == 2
        assert "postgres@" not in moved.out
        with server.client() as client:
            late = client.post("/v1/operations/files.write", json={"path": file, "content": "late"})
        assert late.status_code == 503, late.text
        assert "moved" in late.json()["detail"]
    assert Path(file).read_text() == "kept"

    refused = superagent("call", "access.whoami", data=data)
    assert refused.code == 5
    assert "was moved to the database" in refused.err
    assert superagent("migrate-to", url, data=data).code == 5

    monkeypatch.setenv("SUPERAGENT_DATABASE__URL", url)
    with serving(data) as there:
        with there.client(made["key"]) as client:
            assert client.post("/v1/operations/access.whoami", json={}).json()["output"]["id"] == "builder"
        last = next(
            one for one in records(data) if one.get("operation") == "files.write" and one.get("status") == "done"
        )
        there.call("undo.apply", ids=[last["invocation"]])
        assert not Path(file).exists()
