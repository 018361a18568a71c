"""One plugin, trusted in the server and hosted in a sandbox: the same outcomes and the same audit."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from tests.promise import promise
from tests.runtime.hosted.here import HERE, Here, with_plugin

# what differs from one run to the next whatever runs: names, times, and what is made of them
VOLATILE = re.compile(
    r"^(at|seq|hash|id|invocation|parent|seconds|until|trace|personal|decision_digest|epoch|chain|node|bytes|key)$"
)
ULID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")


def steady(value: Any, ids: dict[str, str]) -> Any:
    """Give a document without what differs from run to run; each invocation's name becomes a number."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        kept = {key: steady(one, ids) for key, one in found.items() if not VOLATILE.match(key)}
        if kept.get("operation") in ("undo.apply", "trial.hush", "secrets.put"):  # names, keyed secrets
            kept.pop("input_digest", None)
        if not str(kept.get("operation")).startswith(
            "trial."
        ):  # what the platform itself answers holds names and times
            kept.pop("output_digest", None)
        return kept
    if isinstance(value, list):
        return [steady(one, ids) for one in cast("list[Any]", value)]
    if isinstance(value, str):
        # only of a plugin apart can the platform tell that the fault is not its own
        value = re.sub(r"^the plugin `trial` broke.*", "something broke inside the platform", value)
        return ULID.sub(lambda found: ids.setdefault(found.group(), f"#{len(ids)}"), value)
    return value


async def everything(here: Here, ground: Path) -> tuple[list[Any], list[Any]]:
    """Do everything that the trial plugin can, well and badly; gives the outcomes and the audit."""
    shutil.rmtree(ground, ignore_errors=True)
    ground.mkdir()
    note, other = str(ground / "note.txt"), str(ground / "other.txt")
    said: list[Any] = []

    async def do(operation: str, **given: Any) -> str:
        outcome = await here.run(operation, **given)
        said.append(outcome.plain())
        return outcome.invocation

    put = await here.run("secrets.put", name="key", value="a long and random value")
    assert put.problem is None
    await do("trial.add", path=note, line="one", _dry_run=True)
    first = await do("trial.add", path=note, line="one")
    second = await do("trial.add", path=note, line="two")
    await do("trial.add", path=note, line="stop")
    await do("trial.add", path=note, line="theirs")
    await do("trial.add", path=str(ground), line="a folder")
    blank = await do("trial.blank", path=other)
    await do("undo.apply", ids=[blank])
    await do("trial.look", path=str(ground))
    await do("trial.look", path=str(ground / "nothing"))
    await do("trial.copy", source=note, target=other)
    await do("trial.copy", source=note, target=other, fail=True)
    await do("trial.drop", path=other, _dry_run=True)
    dropped = await do("trial.drop", path=other)
    await do("trial.drop", path=other)
    await do("undo.apply", ids=[dropped])
    said.append(Path(other).read_text())
    await do("undo.apply", ids=[second])
    await do("undo.apply", ids=[first])
    said.append(Path(note).exists())
    words = [{"word": "hey", "times": 2}, {"word": "ho"}]
    await do("trial.tell", choices=words, how="loud", weights={"a": 0.5, "b": 1})
    await do("trial.tell", **{"choices": words, "from": "me"})
    await do("trial.tell", **{"choices": [{"word": "x" * 21, "more": 1}], "from": "ME", "odd": True})
    for how in ("problem", "bug", "nested"):
        await do("trial.fail", how=how)
    counted = (await here.run("trial.count", to=3)).invocation
    async with asyncio.timeout(20):
        while not await here.records(operation="trial.count"):
            await asyncio.sleep(0.01)
    said.append([event for _, event in await here.installation.kernel.hands.work.events("default", counted, 0)])
    await do("trial.sign", text="hello", secret="key")
    signed = await do("trial.sign", text="plainly", secret="key")
    said.append([event for _, event in await here.installation.kernel.hands.work.events("default", signed, 0)])
    await do("trial.sign", text="hello", secret="no-such-secret")
    hub: dict[str, Any] = {"name": "hub", "type": "http", "endpoint": "https://api.example.org/", "secret": "key"}
    assert (await here.run("connections.create", **hub)).problem is None
    await do("trial.show", connection="hub")
    await do("trial.show", connection="none")
    await do("trial.hush", secret="what nobody may read")
    kept = await do("trial.remember", word="so")
    undone = await do("undo.apply", ids=[kept])
    said.append([event for _, event in await here.installation.kernel.hands.work.events("default", undone, 0)])
    await do("trial.dawdle")
    records = [
        one
        for one in await here.records()
        if one.get("operation", "").startswith(("trial.", "files.", "undo.", "secrets."))
    ]
    return said, records


@promise("5.4a")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_plugin_does_and_records_the_same_in_both_places(tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    found: list[tuple[Any, Any]] = []
    described: list[Any] = []
    reaches = "trial: files secret call:files.read call:files.write call:shell.exec"
    ways: dict[str, dict[str, Any]] = {"trusted": {"trusted": ["trial"]}, "hosted": {"hosted": [reaches]}}
    for data, chosen in ways.items():
        async with with_plugin(tmp_path / data, HERE / "trial", **chosen) as here:
            listed = (await here.run("plugins.list")).result()["plugins"]
            assert [(one["name"], one["state"], one["why"]) for one in listed] == [("trial", data, "")]
            said, records = await everything(here, ground)
            ids: dict[str, str] = {}
            found.append((steady(said, ids), steady(records, ids)))
            registry = here.installation.kernel.registry
            described.append(
                {
                    one.name: (
                        one.digest,
                        one.summary,
                        one.risk,
                        one.takes_back,
                        one.examples,
                        one.secrets,
                        one.touched,
                    )
                    for one in registry
                    if one.domain == "trial"
                }
            )
    (trusted, trusted_records), (hosted, hosted_records) = found
    assert described[0] == described[1]
    assert len(described[0]) == 13
    for ours, theirs in zip(trusted, hosted, strict=True):
        assert theirs == ours
    for ours, theirs in zip(trusted_records, hosted_records, strict=True):
        assert theirs == ours
    whole = str(hosted) + str(hosted_records)
    assert "a long and random value" not in whole
    assert "what nobody may read" not in whole
    assert whole.count("'status': 'done'") > 15
