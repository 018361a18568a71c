"""What is kept is compared with: a ratio of CPU time that is a quarter worse is said to be, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from bench import kept
from bench.rows import Row

RUN = {
    "at": "2026-01-02T03:04:05+00:00",
    "commit": "abc1234",
    "machine": {"processor": "p", "cores": 2, "stolen": 0.0, "load": [1.0, 1.0, 1.0]},
}


def test_a_ratio_of_cpu_time_that_is_worse_by_more_than_a_quarter_is_flagged(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.take(
        [Row("whoami.cpu_over_nginx", 4.0), Row("whoami.rps_over_nginx", 0.5), Row("direct.superagent", 9)], RUN, file
    )

    assert list(kept.worse([Row("whoami.cpu_over_nginx", 4.9)], "p", file)) == []
    assert list(kept.worse([Row("whoami.rps_over_nginx", 5), Row("direct.superagent", 90)], "p", file)) == []
    assert list(kept.worse([Row("whoami.cpu_over_nginx", 5.2)], "p", file)) == [
        "FLAG: whoami.cpu_over_nginx is 5.2, 30% above the 4 that was kept"
    ]


def test_a_run_of_some_groups_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.take([Row("a.x", 1), Row("b.x", 2)], RUN, file)
    kept.take([Row("b.x", 3)], {**RUN, "commit": "def5678"}, file)

    found = kept.read(file)
    assert [(name, one["value"], one["run"]["commit"]) for name, one in found.items()] == [
        ("a.x", 1, "abc1234"),
        ("b.x", 3, "def5678"),
    ]


def test_without_kept_figures_nothing_is_said(tmp_path: Path) -> None:
    assert list(kept.worse([Row("whoami.cpu_over_nginx", 5.2)], "p", tmp_path / "none.json")) == []


def test_figures_of_another_processor_are_not_compared_and_that_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    rows = [Row("whoami.cpu_over_nginx", 4.0), Row("direct.over_starlette", 1.4)]
    kept.take(rows, RUN, file)

    worse = [Row(row.name, row.value * 2) for row in rows]
    assert list(kept.worse(worse, "q", file)) == [
        "kept figures are of another processor (p): nothing here is compared with them"
    ]
    assert list(kept.worse([Row("direct.superagent", 90)], "q", file)) == []


def test_a_missed_floor_comes_with_what_to_do_about_it(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.take([Row("a.x", 1, at_most=2), Row("b.x", 3, at_most=2)], RUN, file)

    first, *_, last = kept.explained([Row("a.x", 9, at_most=2), Row("b.x", 9, at_most=2)], "q", file)
    assert first == "MISSED 2; of these 1 were met by the figures kept of p; this is q."
    assert last.endswith("Another processor: compare two commits here instead.")
    assert list(kept.explained([Row("a.x", 1, at_most=2), Row("c.x", 9)], "q", file)) == []
