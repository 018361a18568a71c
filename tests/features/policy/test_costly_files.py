"""Policy files that would take the reader's time."""

from __future__ import annotations

import time

import pytest

from superagent.features.policy import documents
from superagent.sdk import InvalidInput

CHAIN = ".".join(["a"] * 40_000)
QUOTED = " . ".join(['"a.b"', "'c'", "d"] * 12_000)


@pytest.mark.parametrize(
    "source",
    [
        f"{CHAIN} = 1",
        f"[{CHAIN}]",
        f"[[{QUOTED}]]",
        f"{QUOTED} = 1",
        'x = {b = """ " """, ' + CHAIN + ' = "\\""}',
        "x = {b = ''' ' \" ''', " + CHAIN + " = 1}",
        'x = {b = """"" \\""""", ' + CHAIN + " = 1}",
        'x = {b = "# \\"", ' + CHAIN + " = 1}",
        "# it's\n" + CHAIN + " = 1",
    ],
    ids=range(9),
)
def test_a_name_of_very_many_parts_is_refused_at_once(source: str) -> None:
    before = time.thread_time()
    with pytest.raises(InvalidInput, match="more than 32 parts"):
        documents.read(source, "toml")
    assert time.thread_time() - before < 1


@pytest.mark.parametrize("unit", ['"""', '"\\"', "'''", "'", "\\", "a", "a.", "a" * 40 + ".\n", "#", '"', " ", '\\"""'])
def test_the_look_for_such_names_is_quick_whatever_the_file(unit: str) -> None:
    before = time.thread_time()
    with pytest.raises(InvalidInput):
        documents.read("x = " + unit * (1_000_000 // len(unit)), "toml")
    assert time.thread_time() - before < 3


def test_dots_within_texts_and_remarks_are_no_parts() -> None:
    dots = "a." * 200
    grants = documents.read(
        f'# {dots}\n[[grants]]\nsubject = "agent:x"\neffect = "allow"\noperations = [\'files.read\']\n'
        f'[grants.where]\npaths = ["/{dots}", """/{dots}""", \'/{dots}\']\n',
        "toml",
    )
    assert grants[0].where is not None
    assert len(grants[0].where.paths or ()) == 3
