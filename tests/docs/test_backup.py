"""The page on backups runs as it stands: copied while it works, restored elsewhere, proven, started and taken back."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.platform import Server, serving
from tests.docs.test_examples import shell
from tests.postgresql import Server as Postgres
from tests.until import until


@contextmanager
def at_work(server: Server, folder: Path) -> Generator[None]:
    """Change one file after the other while the body runs."""
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.is_set():
            number += 1
            server.call("files.write", path=str(folder / f"{number}.md"), content=f"{number}\n")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        until(lambda: (folder / "1.md").exists(), "the first change", 30)
        yield
    finally:
        over.set()
        worker.join()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_backup_of_a_working_installation_is_whole_elsewhere_and_takes_back_an_old_change(tmp_path: Path) -> None:
    """Run docs_src/backup.sh and docs_src/restore.sh."""
    data, project = tmp_path / "data", tmp_path / "project"
    project.mkdir()
    plan = project / "plan.md"
    with serving(data) as server:
        server.call("files.write", path=str(plan), content="first\n")
        with server.client() as client:
            said = {"path": str(plan), "content": "second\n"}
            old = client.post("/v1/operations/files.write", json=said).json()["invocation"]
        key = server.call("access.keys.create", name="builder")["key"]
        server.call("secrets.put", name="token", value="a long and random value")
        before = server.call("audit.verify")["records"]
        with at_work(server, project):
            shell("backup.sh", data, server.url, HOME=str(tmp_path))
        server.call("files.write", path=str(project / "later.md"), content="later\n")
        assert server.stop() == 0

    files = len(list(project.glob("[0-9]*.md")))
    data.rename(tmp_path / "lost")
    shown = shell("restore.sh", data, server.url, HOME=str(tmp_path))
    assert "\nok           yes\n" in shown
    assert "none was touched" in shown
    assert f"a copy of {data}" in shown
    assert len(list(project.glob("[0-9]*.md"))) == files - 1  # the newest of the backup was taken back

    restored = tmp_path / "superagent-restored"
    with serving(restored) as again:
        found = again.call("audit.verify")
        assert (found["ok"], found["faults"]) == (True, [])
        assert found["records"] > before
        with again.client(key) as agent:
            assert agent.post("/v1/operations/access.whoami", json={}).json()["output"]["id"] == "builder"
        assert [one["name"] for one in again.call("secrets.list")["secrets"]] == ["token"]
        again.call("undo.adopt")  # it stays here, in the place of the one that was lost
        again.call("undo.apply", ids=[old])
        assert plan.read_text() == "first\n"
        assert (project / "later.md").exists()  # after the backup: the restored one knows nothing of it
        assert again.call("audit.query", text="later.md")["records"] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_backup_with_postgresql_is_restored_into_another_database(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run docs_src/backup.sh, docs_src/restore-postgresql.sh and docs_src/restore.sh."""
    data, project = tmp_path / "data", tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("SUPERAGENT_DATABASE__URL", url := postgres.url(str(tmp_path)))
    with serving(data) as server:
        with at_work(server, project):
            shell("backup.sh", data, server.url, HOME=str(tmp_path), SUPERAGENT_DATABASE__URL=url)
        key = server.call("access.keys.create", name="later")["key"]

    files = len(list(project.glob("*.md")))
    shell("restore-postgresql.sh", data, "", HOME=str(tmp_path), PGHOST=str(postgres.folder), PGUSER="postgres")
    restored = f"postgresql+psycopg://postgres@/superagent_restored?host={postgres.folder}"
    shown = shell("restore.sh", data, "", HOME=str(tmp_path), SUPERAGENT_DATABASE__URL=restored)
    assert "\nok           yes\n" in shown
    assert len(list(project.glob("*.md"))) == files - 1

    monkeypatch.setenv("SUPERAGENT_DATABASE__URL", restored)
    with serving(tmp_path / "superagent-restored") as again:
        assert again.call("audit.verify")["ok"]
        with again.client(key) as agent:  # a key that was made after the backup
            assert agent.post("/v1/operations/access.whoami", json={}).status_code == 401
