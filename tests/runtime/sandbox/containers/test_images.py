"""Images of real engines: roots that are made here and go with time, those of the settings, and ones that vanish."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.containers.engine import Engine
from superagent.runtime.sandbox.containers.images import KEPT, OWN, Images
from superagent.runtime.sandbox.containers.request import Inside
from tests.engines import each_engine, engine
from tests.runtime.sandbox.containers.boxes import Boxes, boxes, image_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=each_engine)
def serving(request: pytest.FixtureRequest) -> Generator[tuple[str, str]]:
    with engine(request.param) as socket:
        yield request.param, socket


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(serving: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Boxes]:
    async with boxes(*serving, tmp_path_factory.mktemp(serving[0])) as one:
        yield one


async def roots(box: Boxes) -> list[Any]:
    listed = await box.engine.ask("GET", "/images/json")
    return [one for one in listed if any(OWN in name for name in one["RepoTags"] or ())]


async def test_roots_of_earlier_states_of_the_machine_do_not_pile_up(
    box: Boxes, serving: tuple[str, str], tmp_path: Path
) -> None:
    for number in range(KEPT + 2):
        query = {"fromSrc": "-", "repo": f"{OWN}old{number}", "tag": "latest"}
        await box.engine.send("/images/create", image_of("true"), query)
    (tmp_path / "more").mkdir()

    async with boxes(*serving, tmp_path, visible=[str(tmp_path / "more")]) as other:  # another state, so another root
        assert await other.said("echo here") == "here\n"

    assert len(await roots(box)) == KEPT


@pytest.mark.slow
async def test_the_root_that_was_just_made_stays_whatever_the_clock_says(
    box: Boxes, serving: tuple[str, str], tmp_path: Path
) -> None:
    """Engines tell the time of an image in seconds, so many of one second come in any order."""
    (tmp_path / "more").mkdir()
    for turn in range(3):
        for number in range(KEPT + 2):
            query = {"fromSrc": "-", "repo": f"{OWN}turn{turn}of{number}", "tag": "latest"}
            await box.engine.send("/images/create", image_of("true", mark=f"{turn}-{number}"), query)
        visible = tmp_path / "more" / f"turn{turn}"
        visible.mkdir()
        (tmp_path / str(turn)).mkdir()
        async with boxes(*serving, tmp_path / str(turn), visible=[str(visible)]) as other:
            assert await other.said("echo here") == "here\n"


class Vanishing:
    """The images of a back end; before a container can be made of the first, somebody removes it from the engine."""

    def __init__(self, images: Images, times: int) -> None:
        self._images = images
        self.left = times

    async def inside(self, engine: Engine) -> Inside:
        """Give what is there, and let it go."""
        found = await self._images.inside(engine)
        if self.left > 0:
            self.left -= 1
            await engine.ask("DELETE", f"/images/{found.image}", query={"force": "1"})
        return found


@pytest.mark.slow
async def test_a_root_that_another_server_removes_meanwhile_is_made_again(
    box: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await box.said("echo here") == "here\n"
    vanishing = Vanishing(box.containers._images, 1)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(box.containers, "_images", vanishing)

    assert await box.said("echo again") == "again\n"

    assert vanishing.left == 0
    vanishing.left = 2
    with pytest.raises(SandboxUnavailable, match=r"(?i)no such image"):  # once, not for ever
        await box.start("true")
    assert await box.said("echo again") == "again\n"
    assert await box.left() == []


async def test_an_image_of_the_settings_is_used_and_what_it_wants_to_write_is_sized(
    serving: tuple[str, str], tmp_path: Path
) -> None:
    name, socket = serving
    asking = Engine(socket)
    query = {"fromSrc": "-", "repo": "own", "tag": "latest", "changes": "VOLUME /data"}
    await asking.send("/images/create", image_of("sh", "df", "touch"), query)
    await asking.close()

    async with boxes(name, socket, tmp_path, image="own") as box:
        text = await box.said("touch here /data/there && df -k /data")
    assert text.splitlines()[-1].split() == ["tmpfs", "65536", "0", "65536", "0%", "/data"]


async def test_an_image_without_a_shell_fails_the_probe_with_what_it_said(
    box: Boxes, serving: tuple[str, str], tmp_path: Path
) -> None:
    query = {"fromSrc": "-", "repo": "bare", "tag": "latest"}
    await box.engine.send("/images/create", image_of("df"), query)

    async with boxes(*serving, tmp_path, image="bare") as other:
        probe = await other.containers.probe()

    assert probe.failed is not None
    assert probe.failed.name == "start"
    assert "No such file" in probe.failed.seen
    assert "one with `/bin/sh`" in probe.failed.cure


async def test_a_program_that_an_image_does_not_have_ends_with_127(
    box: Boxes, serving: tuple[str, str], tmp_path: Path
) -> None:
    query = {"fromSrc": "-", "repo": "few", "tag": "latest"}
    await box.engine.send("/images/create", image_of("sh"), query)

    async with boxes(*serving, tmp_path, image="few") as other:
        missing, _, stderr = await other.run("nosuch")
        closed, _, _ = await other.run("/etc")
        script = "echo 'ERROR (catatonit:2): failed to exec pid1: No such file or directory' >&2; echo more >&2; exit 1"
        failed, _, _ = await other.run("sh", "-c", script)

    assert (missing.code, closed.code, failed.code) == (127, 126, 1), stderr.text
