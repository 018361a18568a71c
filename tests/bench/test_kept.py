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

    assert list(kept.worse([Row("whoami.cpu_over_nginx", 4.9)], file)) == []
    assert list(kept.worse([Row("whoami.rps_over_nginx", 5), Row("direct.superagent", 90)], file)) == []
    assert list(kept.worse([Row("whoami.cpu_over_nginx", 5.2)], file)) == [
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
    assert list(kept.worse([Row("whoami.cpu_over_nginx", 5.2)], tmp_path / "none.json")) == []
