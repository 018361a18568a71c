"""Try the plugin before anybody loads it: `python try_it.py` says nothing when all is well."""

import asyncio
import tempfile
from pathlib import Path

from operations import tidy

from superagent.app import open_installation
from superagent.sdk import Call
from superagent.settings import load
from superagent.testing import World, agent


async def in_memory() -> None:
    """A whole kernel in memory: who may call it, and what the record says."""
    world = World(tidy, grants=[])
    refused = await world.run("tidy.sort", {"path": "/srv/list.txt"}, by=agent())
    assert refused.problem is not None
    assert refused.problem.slug == "not-found"  # without a grant it is not there
    assert world.audit.kinds() == ["refused tidy.sort"]


async def for_real(folder: Path) -> None:
    """An installation in a folder of its own, with the platform's own operations beside yours."""
    file = folder / "list.txt"
    file.write_text("b\na\n")
    async with open_installation(load(folder / "data", environ={}), extra=(tidy,)) as here:
        owner = await here.owner()

        look = await here.kernel.run(Call("tidy.sort", {"path": str(file)}, dry_run=True), owner, "test")
        assert "+a\n b\n-a\n" in look.result()["diff"]
        assert file.read_text() == "b\na\n"

        done = await here.kernel.run(Call("tidy.sort", {"path": str(file)}), owner, "test")
        assert done.result() == {"lines": 2}
        assert file.read_text() == "a\nb\n"

        await here.kernel.run(Call("undo.apply", {"ids": [done.invocation]}), owner, "test")
        assert file.read_text() == "b\na\n"


asyncio.run(in_memory())
with tempfile.TemporaryDirectory() as place:
    asyncio.run(for_real(Path(place)))
