"""What we claim is what tests show, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.proof import latest_figures
from tests.promise import Row, proofs, read_table


def test_every_promise_has_a_test_that_proves_it() -> None:
    found = proofs()
    assert not [row.id for row in read_table() if row.id not in found]


def test_every_proof_names_a_row_that_we_claim() -> None:
    claimed = {row.id for row in read_table()}
    assert not {row: tests for row, tests in proofs().items() if row not in claimed}


def test_a_row_reads_as_it_is_written(tmp_path: Path) -> None:
    table = tmp_path / "promises.toml"
    table.write_text('[row."1.3c"]\nclaim = "c"\ncounterpart = "p"\nnot_verified = ""\nbench = "a.b"\n')
    assert read_table(table) == [Row("1.3c", "c", "p", "", "a.b")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[row.one]\nclaim = "c"\ncounterpart = "p"\nnot_verified = ""\n', "not a row id"),
        ('[row."1.1"]\nclaim = "c"\ncounterpart = "p"\n', "missing field"),
        ('[row."1.1"]\nclaim = " "\ncounterpart = "p"\nnot_verified = ""\n', "`claim` must be"),
        ('[row."1.1"]\nclaim = "c"\ncounterpart = "p"\nnot_verified = ""\nproof = "x"\n', "unknown field"),
    ],
)
def test_a_faulty_row_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    table = tmp_path / "promises.toml"
    table.write_text(text)
    with pytest.raises(ValueError, match=fault):
        read_table(table)


def test_marks_are_found_on_functions_classes_and_methods(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text(
        '@promise("1.1a", "1.2")\nasync def test_one(): ...\n\n'
        '@promise("1.3")\nclass TestTwo:\n    @promise("1.1a")\n    def test_in(self): ...\n'
    )
    assert proofs(folder) == {
        "1.1a": ["tests/test_x.py::test_one", "tests/test_x.py::TestTwo::test_in"],
        "1.2": ["tests/test_x.py::test_one"],
        "1.3": ["tests/test_x.py::TestTwo"],
    }


def test_a_promise_shows_its_figure_from_the_newest_run(tmp_path: Path) -> None:
    assert latest_figures(tmp_path) == {}
    for name, value in (("2026-01-02", 0.123456), ("2026-01-01", 0.5)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"figures": {"whoami": {"rps": value, "errors": 0}}}))
    assert latest_figures(tmp_path) == {"whoami.rps": "0.1235", "whoami.errors": "0"}
