"""Folders of Alembic: rendered by a real Alembic, moved by the same line as plain SQL, and never run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from superagent.plugins.sql.rendered import DOWN, UP, Unrendered, revisions
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise

ENV = """from alembic import context
context.configure(dialect_name=context.config.get_main_option("kind"), literal_binds=True)
with context.begin_transaction():
    context.run_migrations()
"""
FIRST = '''"""people"""
from alembic import op
import sqlalchemy as sa
open({mark!r}, "a").close()
revision: str = "a1c0"
down_revision: str | None = None
def upgrade():
    op.create_table("people", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))
    op.create_index("ix_people_name", "people", ["name"])
def downgrade():
    op.drop_index("ix_people_name", "people")
    op.drop_table("people")
'''
SECOND = '''"""age"""
from alembic import op
import sqlalchemy as sa
revision = "b2c0"
down_revision = "a1c0"
def upgrade():
    op.add_column("people", sa.Column("age", sa.Integer))
    op.execute("INSERT INTO people (id, name, age) SELECT id, who, 7 FROM orders")
def downgrade():
    op.execute("DELETE FROM people")
    op.drop_column("people", "age")
'''
KINDS = {"postgresql": "postgresql", "mariadb": "mysql", "sqlite": "sqlite"}


def rendered(folder: Path, *words: str) -> str:
    """Have Alembic say its SQL, as a command in the sandbox would."""
    command = [sys.executable, "-m", "alembic", "-c", str(folder / "alembic.ini"), *words, "--sql"]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment).stdout


@pytest.fixture
def folder(db: Database, tmp_path: Path) -> Path:
    made = tmp_path / "alembic"
    (made / "versions").mkdir(parents=True)
    (made / "alembic.ini").write_text(f"[alembic]\nscript_location = {made}\nkind = {KINDS[db.kind]}\n")
    (made / "env.py").write_text(ENV)
    (made / "versions" / "b2c0_age.py").write_text(SECOND)
    (made / "versions" / "a1c0_people.py").write_text(FIRST.format(mark=str(tmp_path / "ran")))
    return made


@promise("3.7b")
async def test_what_alembic_rendered_is_rehearsed_applied_and_taken_out(
    here: Ground, db: Database, folder: Path, tmp_path: Path
) -> None:
    refused = await here.refused("migrate_plan", folder=str(folder))
    assert (refused.slug, UP in (refused.hint or "")) == ("unavailable", True)
    (folder / UP).write_text(rendered(folder, "upgrade", "head"))
    (folder / DOWN).write_text(rendered(folder, "downgrade", "head:base"))
    ran = tmp_path / "ran"
    ran.unlink()  # Alembic ran it
    before = db.checksum("orders", "secret")
    plan = await here.do("migrate_plan", folder=str(folder))
    assert (plan["versions"], plan["losses"]) == (["0001", "0002"], [])
    done = await here.call("migrate_apply", folder=str(folder), plan=plan["digest"])
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert db.run("SELECT version_num FROM alembic_version") == [("b2c0",)]  # Alembic itself knows where it is
    assert db.run("SELECT count(*) FROM people WHERE age = 7") == [(4,)]
    lost = await here.refused("migrate_rollback", folder=str(folder), to="0")
    assert "people" in lost.detail
    assert "alembic_version" not in lost.detail
    back = await here.call("migrate_rollback", folder=str(folder), to="0", allow_loss=True)
    assert back.problem is None, (back.problem.detail, back.problem.hint)
    assert db.checksum("orders", "secret") == before
    # and in again: the first revision makes Alembic's own table anew
    plan = await here.do("migrate_plan", folder=str(folder), to="1")
    done = await here.call("migrate_apply", folder=str(folder), plan=plan["digest"], to="1")
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert db.run("SELECT version_num FROM alembic_version") == [("a1c0",)]
    if db.kind != "mariadb":  # which cannot look for lost rows before it commits
        undone = await here.call("undo.apply", ids=[done.invocation])
        assert undone.problem is None, (undone.problem.detail, undone.problem.hint)
    assert not ran.exists()  # nothing of all this ran a revision


async def test_what_was_not_rendered_of_these_very_revisions_is_refused(
    here: Ground, on_sqlite: Database, tmp_path: Path
) -> None:
    made = tmp_path / "stale"
    (made / "versions").mkdir(parents=True)
    (made / "env.py").write_text(ENV)
    (made / UP).write_text("-- Running upgrade  -> a1c0\nCREATE TABLE people (id int);\n")
    (made / "versions" / "a1c0_people.py").write_text(FIRST.format(mark=str(tmp_path / "ran")))
    assert (await here.do("migrate_plan", folder=str(made)))["versions"] == ["0001"]
    (made / "versions" / "b2c0_age.py").write_text(SECOND)
    refused = await here.refused("migrate_plan", folder=str(made))
    assert (refused.slug, UP in refused.detail) == ("unavailable", True)


P1, P2 = 'revision = "a"\ndown_revision = None\n', "revision = 'b'\ndown_revision: Union[str, None] = 'a'  # x\n"
MARK1, MARK2 = "-- Running upgrade  -> a\nSELECT 1;\n", "-- Running upgrade a -> b\nSELECT 2;\n"
BROKEN: list[tuple[list[str], str]] = [
    ([P1, P2], MARK1), ([P1], MARK1 + MARK2), ([P1, P2], MARK2 + MARK1), ([P1, P2], MARK1 + MARK1 + MARK2),
    ([P1, P2, 'revision = "c"\ndown_revision = "a"'], MARK1 + MARK2), ([P2], MARK2), ([], ""), ([P1], ""),
    ([P1, 'revision = "b"\ndown_revision = ("a", "x")'], MARK1 + MARK2),
    ([P1, 'revision = __import__("os").name\ndown_revision = "a"'], MARK1 + MARK2),
    (['revision = "a"\ndown_revision = "a"'], "-- Running upgrade a -> a\n"), (["import os"], MARK1),
    ([P1], "-- Running downgrade a -> \n"), ([P1], "-- Running upgrade " + " " * 200_000 + "x -> a"),
]  # fmt: skip


@pytest.mark.parametrize(("programs", "up"), BROKEN)
def test_what_does_not_fit_is_not_guessed_at(programs: list[str], up: str) -> None:
    with pytest.raises(Unrendered):
        revisions(programs, up, None)


def test_values_stay_as_they_are_and_the_transaction_around_them_goes() -> None:
    text = (
        "BEGIN;\n\nCREATE TABLE alembic_version (x int);\n\n"
        + MARK1
        + "INSERT INTO t VALUES ('a\nCOMMIT;\n\u2028b');\nCOMMIT;\n"
    )
    found: Any = revisions([P1], text, "BEGIN;\n-- Running downgrade a -> \nDROP TABLE t;\n\nCOMMIT;\n")
    assert found[0].up == (
        "CREATE TABLE alembic_version (x int);\nSELECT 1;\nINSERT INTO t VALUES ('a\nCOMMIT;\n\u2028b');"
    )
    assert found[0].down == "DROP TABLE t;\nDROP TABLE alembic_version;"
