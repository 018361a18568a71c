"""What a launcher is asked for is checked to the last field."""

from __future__ import annotations

from typing import Any

import pytest

from superagent_launcher.asked import MOST_TEXT, Refused, Start, number_of, run_of

GOOD: dict[str, Any] = {
    "do": "start", "run": 1, "fds": 4, "program": "/usr/bin/bwrap",
    "options": ["--unshare-user", "--unshare-pid", "--die-with-parent", "--uid", "1000"],
    "command": ["ls", ""], "numbers": [0, 1, 2], "mounts": ["workspace"], "uid": 200_000,
    "limits": {
        "memory_bytes": 1024, "processes": 1, "cpus": 0.5, "cpu_s": 1, "file_bytes": 1, "open_files": 1, "wall_s": 0.1,
    },
}  # fmt: skip


VIEW: dict[str, Any] = {"lower": "/mnt/lower", "folder": "/mnt/view", "bytes": 4096, "files": 10}
CONFINE: dict[str, Any] = {
    "readable": ["/usr"], "writable": ["workspace"], "devices": ["/dev/null"], "filter": "0600000000000000",
    "env": [["PATH", "/usr/bin"]], "cwd": "",
}  # fmt: skip


def viewed(**other: Any) -> dict[str, Any]:
    return {**GOOD, "view": {**VIEW, **other}}


def confined(**other: Any) -> dict[str, Any]:
    return {**GOOD, "options": [], "confine": {**CONFINE, **other}}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def limits(**other: Any) -> dict[str, Any]:
    return {**GOOD, "limits": {**GOOD["limits"], **other}}


def test_a_start_is_read() -> None:
    start = Start(GOOD, 4)

    assert (start.run, start.uid, start.command, start.mounts) == (1, 200_000, ["ls", ""], ["workspace"])
    assert start.limits["cpus"] == 0.5


def test_a_start_as_the_launcher_itself_is_read() -> None:
    assert Start({**GOOD, "uid": None}, 4).uid is None


def test_a_view_and_what_landlock_holds_are_read() -> None:
    assert Start(viewed(), 5).view == VIEW  # one more descriptor, on which its memory is handed out
    assert Start(viewed(bytes=0), 4).view == VIEW | {"bytes": 0}
    assert Start({**GOOD, "view": None, "confine": None}, 4).view is None
    held = Start(confined(), 4)
    assert held.confine == {"writable": ["workspace"], "env": {"PATH": "/usr/bin"}, "cwd": ""}
    same = {name: CONFINE[name] for name in ("readable", "devices", "filter")}
    assert held.ground == {"uid": 200_000, "limits": GOOD["limits"], **same}
    bare = Start(confined(filter=""), 4, uncontained=True).ground
    assert bare is not None
    assert bare["filter"] == ""
    assert Start(GOOD, 4).ground is None


@pytest.mark.parametrize(
    ("said", "descriptors"),
    [
        (viewed(), 4),
        (viewed(bytes=0), 5),
        (viewed(bytes="4096,mode=0777"), 5),
        (viewed(files=-1), 5),
        (viewed(lower=None), 5),
        (viewed(more=1), 5),
        ({**GOOD, "view": []}, 4),
        ({**confined(), "options": GOOD["options"]}, 4),
        ({**confined(), "view": {**VIEW, "bytes": 0}}, 4),
        (confined(filter=""), 4),
        (confined(filter="06"), 4),
        (confined(filter="zz00000000000000"), 4),
        (confined(writable=["elsewhere"]), 4),
        (confined(readable="/usr"), 4),
        (confined(env=[["A"], 1]), 4),
        ({**confined(), "mounts": ["workspace", "etc"]}, 5),
        *((without(name), 4) for name in GOOD if name not in ("fds", "do")),
        ({**GOOD, "more": 1}, 4),
        (GOOD, 3),
        (GOOD, 5),
        ({**GOOD, "run": -1}, 4),
        ({**GOOD, "run": True}, 4),
        ({**GOOD, "run": "1"}, 4),
        ({**GOOD, "run": 1.0}, 4),
        ({**GOOD, "program": 1}, 4),
        ({**GOOD, "program": "/usr/bin/b\0"}, 4),
        ({**GOOD, "options": "--unshare-user"}, 4),
        ({**GOOD, "options": [*GOOD["options"], 1]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "\ud800"]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "--share-net"]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "--args", "9"]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "--userns", "9"]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "--cap-add", "ALL"]}, 4),
        ({**GOOD, "options": [*GOOD["options"][:3], "--uid", "0"]}, 4),
        ({**GOOD, "options": [*GOOD["options"], "--gid", "0"]}, 4),
        ({**GOOD, "options": GOOD["options"][1:]}, 4),
        ({**GOOD, "options": ["x"] * 70_000}, 4),
        ({**GOOD, "command": []}, 4),
        ({**GOOD, "command": ["x" * (MOST_TEXT + 1)]}, 4),
        ({**GOOD, "numbers": [0, 1, 1]}, 4),
        ({**GOOD, "numbers": [0, 1, 256]}, 4),
        ({**GOOD, "numbers": [0, 1, -2]}, 4),
        ({**GOOD, "numbers": [1, 2, 3]}, 4),
        ({**GOOD, "mounts": ["../x"]}, 4),
        ({**GOOD, "mounts": [""]}, 4),
        ({**GOOD, "mounts": ["a", "a"]}, 5),
        ({**GOOD, "uid": 0}, 4),
        ({**GOOD, "uid": -1}, 4),
        ({**GOOD, "uid": 2**32 - 1}, 4),
        ({**GOOD, "uid": "root"}, 4),
        ({**GOOD, "limits": {}}, 4),
        ({**GOOD, "limits": None}, 4),
        (limits(more=1), 4),
        (limits(cpus=0), 4),
        (limits(cpus=-1), 4),
        (limits(cpus=float("nan")), 4),
        (limits(wall_s=float("inf")), 4),
        (limits(wall_s=True), 4),
        (limits(wall_s="1"), 4),
    ],
)
def test_anything_else_is_refused(said: dict[str, Any], descriptors: int) -> None:
    with pytest.raises(Refused):
        Start(said, descriptors)


def test_a_run_and_a_signal_are_whole_numbers() -> None:
    assert run_of({"run": 5}) == 5
    assert number_of({"do": "signal", "run": 5, "number": 15}) == 15
    for said in ({}, {"run": None}, {"run": 2**60}):
        with pytest.raises(Refused):
            run_of(said)
    for number in (0, 65, None, True):
        with pytest.raises(Refused):
            number_of({"do": "signal", "run": 5, "number": number})
