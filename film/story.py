"""The story, end to end and with nothing simulated: an agent works, a person decides, all is taken back and proven."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2

from film.agent import Agent, agent
from film.person import Person, person
from film.reel import MARK, Reel
from tests import postgresql
from tests.surfaces.cli.command_line import ENTRY, Server, environment, serving
from tests.verifier.namespace import ran_alone

VERIFIER = Path(__file__).parent.parent / "verifier" / "src" / "superagent_verifier"
PRICES = "def reduced(cents, percent):\n    return cents - percent\n"
TESTS = """\
import unittest
from prices import reduced

class Prices(unittest.TestCase):
    def test_ten_percent_off(self):
        self.assertEqual(reduced(2000, 10), 1800)
"""
PROJECT = {"pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n', "prices.py": PRICES, "test_prices.py": TESTS}
TABLE = (
    "CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, cents int NOT NULL)",
    "INSERT INTO orders VALUES (1, 'Ada', 4500), (2, 'Bo', 1990), (3, 'Cy', 700)",
    "CREATE ROLE shop LOGIN",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO shop",
)
WHAT = """\
An agent repairs a program and a row of a table. A person sees the row before it changes, and decides. Both are taken
back, and the record of it is proven where there is nothing of the platform. `make film` plays it: the MCP client, the
sandbox, PostgreSQL, Chromium, its passkey and the verifier are real. Ids, places and counts, which differ between two
runs, are left out."""
KEY = """\
## A narrow key

The owner names the database, and makes a key that may read, edit and test in one folder, read one table, and change
that table by asking."""
WORK = """\
## The agent works

Any MCP client will do; this is the official one of the Python SDK, as it is. With this key it sees of files, code and
databases:"""
DECIDES = """\
## A person decides

Nothing is changed yet. In the browser stands what would be, row by row, as PostgreSQL itself rehearsed it:"""
BACK = """\
## Both are taken back

What stood there was kept before each change. The person opens the two calls and presses one button."""
PROOF = """\
## Proven elsewhere

The whole audit is exported, and verified in a namespace without network in which there are only Python, the export, the
public keys and [the verifier](../verifier/README.md), which shares no code with the platform."""
UPDATE = "UPDATE orders SET cents = :cents WHERE id = :id"


@dataclass
class Stage:
    """Where the story is played."""

    reel: Reel
    server: Server
    database: postgresql.Server
    person: Person
    project: Path
    folder: Path

    def run(self, *words: str, shown: str = "") -> dict[str, Any]:
        """Run the real command line as the owner, show it, and give its output."""
        self.reel.code(f"superagent {shown or ' '.join(words)}", "sh")
        done = subprocess.run(
            [*ENTRY, "--data", str(self.server.data), *words, "--json"],
            capture_output=True, text=True, timeout=60, env=environment(), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["output"]
        return found

    def ask(self, operation: str, **input: Any) -> dict[str, Any]:
        """Call an operation as the owner, unseen."""
        answer = httpx2.post(
            f"{self.server.address}/v1/operations/{operation}", json=input, headers=self.owner, timeout=60
        ).json()
        found: dict[str, Any] = answer["output"]
        return found

    @property
    def owner(self) -> dict[str, str]:
        """Give what the owner shows."""
        return {"Authorization": f"Bearer {self.server.owner_key}"}

    def order(self) -> object:
        """Look at the row beside the platform."""
        ((cents,),) = self.database.run("SELECT cents FROM orders WHERE id = 2")
        return cents

    def code(self) -> str:
        """Look at the file beside the platform."""
        return (self.project / "prices.py").read_text("utf-8")


def play(reel: Reel, folder: Path, port: int) -> None:
    """Play the whole story in an empty folder, on this free port for the database. Raises where it does not hold."""
    with ExitStack() as stack:
        database = stack.enter_context(postgresql.server(port=port))
        for one in TABLE:
            database.run(one)
        (folder / "data").mkdir(mode=0o700)
        # the database stands on this machine, where the platform's network does not go unasked
        (folder / "data" / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.0/8"]\n', "utf-8")
        server = stack.enter_context(serving(folder / "data", SUPERAGENT_LOG__LEVEL="warning"))
        someone = stack.enter_context(person(server, folder / "profile"))
        project = folder / "project"
        project.mkdir()
        for name, text in PROJECT.items():
            (project / name).write_text(text, "utf-8")
        reel.plain |= {str(folder): "", f":{port}": ":5432"}
        stage = Stage(reel, server, database, someone, project, folder)
        reel.say(f"# The film\n\n{MARK}")
        reel.say(WHAT)
        key = _key(stage, port)
        asyncio.run(_work(stage, key))
        _prove(stage)


def _key(stage: Stage, port: int) -> str:
    reel, address = stage.reel, f"127.0.0.1:{port}"
    reel.say(KEY)
    stage.run(
        "connections", "create", "shop", "--type", "postgresql", "--endpoint", f"postgresql://{address}/postgres",
        "--options", json.dumps({"user": "shop", "tls": "off"}),
        shown=f"connections create shop --type postgresql --endpoint postgresql://{address}/postgres …",
    )  # fmt: skip
    own, table = {"paths": ["{workspace}/**"]}, {"connections": ["sql://shop/public.orders"]}
    grants = [
        {"effect": "allow", "operations": ["files.read", "files.edit", "code.test"], "where": own},
        {"effect": "allow", "operations": ["sql.query", "sql.execute"], "where": {"hosts": [address]}},
        {"effect": "allow", "operations": ["sql.query"], "where": table},
        {"effect": "ask", "operations": ["sql.execute"], "where": table},
    ]
    given = [word for one in grants for word in ("--grants", json.dumps(one))]
    words = ("keys", "create", "builder", "--workspace", str(stage.project))
    made = stage.run(*words, *given, shown=" ".join((*words, "--grants …")))
    reel.code("\n".join(json.dumps(one) for one in grants), "json")
    return str(made["key"])


async def _work(stage: Stage, key: str) -> None:
    async with agent(stage.server.address, key, stage.reel) as client:
        stage.reel.say(WORK)
        stage.reel.code("\n".join(one for one in await client.tools() if one.startswith(("files", "code", "sql"))))
        edited = await _repair(stage, client)
        changed = await _correct(stage, client)
    await asyncio.to_thread(_take_back, stage, {"the row": changed, "the file": edited})


async def _repair(stage: Stage, client: Agent) -> str:
    reel = stage.reel
    reel.say("Ten percent off 20.00 must be 18.00. The tests run in the sandbox, without network or other files:")
    assert await _tested(client, reel) == (0, 1)
    edited = await client.call(
        "files_edit", path="prices.py", old="cents - percent", new="cents - cents * percent // 100"
    )
    assert edited["status"] == "done", edited
    assert await _tested(client, reel) == (1, 0)
    assert "cents * percent // 100" in stage.code()
    return str(edited["invocation"])


async def _tested(client: Agent, reel: Reel) -> tuple[int, int]:
    ran = await client.call("code_test", path=".")
    assert ran["status"] == "done", ran.get("problem")
    assert ran["isolation"]["level"] in ("native", "container", "vm"), ran["isolation"]
    output = ran["output"]
    told = {name: output[name] for name in ("passed", "failed")} | {"contained": ran["isolation"]["level"]}
    reel.json(told | {"says": [one["message"].strip().splitlines()[-1] for one in output["tests"] if one["message"]]})
    return output["passed"], output["failed"]


async def _correct(stage: Stage, client: Agent) -> str:
    reel = stage.reel
    reel.say("Bo was charged by the old code, 19.90. The agent may read that table; to change it, it must ask:")
    asked = await client.call(
        "sql_execute", reason="Bo paid without the reduction", connection="shop", sql=UPDATE,
        params={"cents": 1800, "id": 2},
    )  # fmt: skip
    id = str(asked["invocation"])
    assert asked["status"] == "waiting", asked
    reel.json({name: asked[name] for name in ("status", "invocation")})
    assert stage.order() == 1990
    waits = asyncio.create_task(client.call("jobs_wait", ids=[id], timeout_s=120))
    await asyncio.sleep(0)  # it has called, before the person looks
    await asyncio.to_thread(_approve, stage, id)
    assert (await waits)["output"]["done"]
    told = await client.call("jobs_status", id=id)
    reel.say("The agent, which waited, gets its answer; and the row in PostgreSQL is another:")
    outcome = told["output"]["outcome"]
    reel.json({"status": outcome["status"], "output": outcome["output"]})
    assert outcome["status"] == "done", told
    assert stage.order() == 1800
    return id


def _approve(stage: Stage, id: str) -> None:
    reel, someone, browser = stage.reel, stage.person, stage.person.browser
    reel.say(DECIDES)
    someone.open(f"/ui/approvals/{id}", "!!document.querySelector('.diff tr.add')")
    shown: str = browser.run("document.querySelector('.diff table').innerText")
    assert "1990" in shown, shown
    assert "1800" in shown, shown
    reel.picture(browser, "asks", "The request in the console: the row as it is and as it would be, and who asks")
    someone.press("Approve once")
    browser.click("[role=dialog] input[type=checkbox]")
    browser.until("document.querySelector('[role=dialog] input[type=checkbox]').checked")
    reel.say("The approval is signed by a passkey over exactly this request and this effect.")
    reel.picture(browser, "signs", "The approval, to be signed with the passkey")
    assert stage.order() == 1990
    browser.click("[role=dialog] button[type=submit]")
    browser.until("document.body.innerText.includes('does not wait any more')")
    records = stage.ask("audit.query", invocation=id)["records"]
    (approved,) = [one for one in records if one["kind"] == "approved"]
    assert approved["detail"]["proof"]["signature"]


def _take_back(stage: Stage, done: dict[str, str]) -> None:
    reel, someone, browser = stage.reel, stage.person, stage.person.browser
    reel.say(BACK)
    for what, id in done.items():
        someone.open(f"/ui/invocations/{id}", "!!document.querySelector('button.primary:not([disabled])')")
        reel.picture(browser, "undo-" + what.split()[-1], f"The call, its records, and what undo would do to {what}")
        someone.press("Undo")
        browser.until("document.body.innerText.includes('Taken back by')")
    assert stage.order() == 1990
    assert stage.code() == PRICES
    reel.code(f"orders 2: {stage.order()} cents\nprices.py: {stage.code().splitlines()[-1].strip()}")


def _prove(stage: Stage) -> None:
    reel, folder = stage.reel, stage.folder
    reel.say(PROOF)
    (folder / "keys.txt").write_text("\n".join(stage.run("audit", "keys")["keys"]), "utf-8")
    handle = stage.run("audit", "proof")["handle"]
    raw = f"{stage.server.address}/v1/results/{handle}/raw"
    export = httpx2.get(raw, headers=stage.owner, timeout=60).content
    (folder / "audit.tar.gz").write_bytes(export)
    whole, said = _verified(stage, "audit.tar.gz")
    assert whole == 0, said
    assert "WHOLE" in said
    reel.say("In a copy, one digit is another: of the digest of what the agent asked PostgreSQL for.")
    (folder / "forged.tar.gz").write_bytes(_forged(export))
    faulty, said = _verified(stage, "forged.tar.gz")
    assert faulty == 1, said
    assert "FAULT changed" in said


def _verified(stage: Stage, name: str) -> tuple[int, str]:
    words = [name, "--keys", "keys.txt"]
    files = {one: stage.folder / one for one in (name, "keys.txt")} | {"superagent_verifier": VERIFIER}
    done = ran_alone(["-m", "superagent_verifier", *words], files)
    stage.reel.code(f"python3 -m superagent_verifier {' '.join(words)}", "sh")
    stage.reel.code(_without_counts(done.stdout))
    return done.returncode, done.stdout + done.stderr


def _without_counts(text: str) -> str:
    text = re.sub(r"from .* to .* UTC\n", "", text)
    text = re.sub(r"FAULT (\w+): \S+ \S+ line \d+: line \d+", r"FAULT \1: CHAIN SEGMENT line N: line N", text)
    return re.sub(r"\b\d+\b", "N", text)


def _forged(export: bytes) -> bytes:
    """Give the export with one digit of one record changed: of the approved call's input."""
    out = BytesIO()
    with tarfile.open(fileobj=BytesIO(export)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for entry in old:
            file = old.extractfile(entry)
            assert file
            data = file.read()
            at = data.find(b'"operation":"sql.execute"')
            if at >= 0 and entry.name.endswith(".seg"):
                digit = data.index(b'"input_digest":"', at) + len(b'"input_digest":"')
                data = data[:digit] + (b"1" if data[digit : digit + 1] == b"0" else b"0") + data[digit + 1 :]
            new.addfile(entry, BytesIO(data))
    return out.getvalue()
