"""Resources: one spelling for each thing, and what can be read in two ways is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.patterns import HostPattern
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect, Protected, Resource, beneath, canonical, canonical_host, canonical_path

# ---- paths


@pytest.mark.parametrize(
    ("given_path", "canonical_one"),
    [
        ("/srv/a", "/srv/a"),
        ("/srv/../etc/shadow", "/etc/shadow"),
        ("/../../etc", "/etc"),
        ("//etc", "/etc"),
        ("///etc//x/", "/etc/x"),
        ("/srv/./a/.", "/srv/a"),
        ("/", "/"),
        ("/..", "/"),
        ("a/b", "/ws/a/b"),
        ("../x", "/x"),
        (".", "/ws"),
        ("~/x", "/ws/~/x"),
        ("/A/%2e%2e/b", "/A/%2e%2e/b"),
        ("/a\\..\\b", "/a\\..\\b"),
        ("/caf\u00e9", "/caf\u00e9"),
        ("/cafe\u0301", "/cafe\u0301"),
        ("/a ", "/a "),
        ("/a\n", "/a\n"),
        ("/.../a", "/.../a"),
        ("/\u2024\u2024/a", "/\u2024\u2024/a"),
    ],
)
def test_a_path_has_one_spelling(given_path: str, canonical_one: str) -> None:
    assert canonical("path", given_path, "/ws") == ("local", canonical_one)


@pytest.mark.parametrize("bad", ["", "/a\0b", "\0", "/" + "a" * 4096, "/\ud800"])
def test_a_path_that_cannot_exist_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_path(bad, "/ws")


def test_a_path_may_have_as_many_characters_as_the_kernel_takes() -> None:
    longest = "/" + "a" * 4095
    assert canonical_path(longest, "") == longest


def test_a_relative_path_needs_a_workspace() -> None:
    with pytest.raises(InvalidInput, match="is relative and this key has no workspace") as refused:
        canonical_path("a" * 1000, "")
    assert refused.value.hint == "name an absolute path"
    assert len(refused.value.detail) < 300


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "..."]), max_size=12))
def test_canonical_paths_are_fixed_points_without_dots(parts: list[str]) -> None:
    found = canonical_path("/" + "/".join(parts), "")
    assert canonical_path(found, "") == found
    assert found == "/" or not {"", ".", ".."} & set(found[1:].split("/"))


# ---- hosts


@pytest.mark.parametrize(
    ("given_host", "canonical_one"),
    [
        ("example.org", "example.org:443"),
        ("Example.ORG.:8443", "example.org:8443"),
        ("http://example.org", "example.org:80"),
        ("HTTPS://example.org/a?b#c", "example.org:443"),
        ("wss://example.org:0444", "example.org:444"),
        ("ssh://git@example.org/x.git", "example.org:22"),
        ("ftp://example.org:21/", "example.org:21"),
        ("https://good.org@evil.org/", "evil.org:443"),
        ("https://good.org:443@evil.org:8443/", "evil.org:8443"),
        ("https://evil.org/@good.org", "evil.org:443"),
        ("https://evil.org/http://good.org", "evil.org:443"),
        ("example.org:1", "example.org:1"),
        ("example.org:65535", "example.org:65535"),
        ("https://evil.org#@good.org", "evil.org:443"),
        ("https://evil.org?@good.org", "evil.org:443"),
        ("https://xn--bcher-kva.de/\u00fc", "xn--bcher-kva.de:443"),
        ("_dmarc.example.org", "_dmarc.example.org:443"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]", "[::1]:443"),
        ("http://[2001:DB8:0:0::0001]:8080/", "[2001:db8::1]:8080"),
        ("https://[::ffff:127.0.0.1]/", "127.0.0.1:443"),
        ("https://[::ffff:7f00:1]/", "127.0.0.1:443"),
    ],
)
def test_a_host_has_one_spelling(given_host: str, canonical_one: str) -> None:
    assert canonical("host", given_host, "/ws") == ("-", canonical_one)


@pytest.mark.parametrize(
    "bad",
    [
        "", ":443", "https://", "https:///evil.org", "https://@", "//evil.org", "http:/evil.org", "http:evil.org",
        "evil.org:",
        "https://evil.org:/", "example.org/path", "user@example.org", "https://a@b@c", "https://evil.org\\@good.org",
        "https://good.org\\.evil.org", "https://evil.org /", "https://evil.org\t/", "https://evil.org\n",
        "evil.org\n", "\nevil.org",
        "https://evil.org\x00/", "example.org:0", "example.org:65536", "example.org:443443",
        "example.org:" + "9" * 5000,
        "example.org:\u0664\u0664\u0663", "ftp://example.org", "1http://a", "1http://a:80", "://a",
        "://a:80", "a..b", ".a", "-a.org", "a-.org",
        "a" * 64,
        ".".join(["a" * 60] * 5), "b\u00fccher.de", "example\u3002org", "\uff45xample.org", "\u212aey.org",
        "\u017fsl.org", "*.org",
        "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.0.0.1", "a.1",
        "a.0x",
        "::1", "[::1", "::1]", "[]", "[::1]x", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[127.0.0.1]", "[v1.x]",
        "https://[::1]@x]",
    ],
)  # fmt: skip
def test_a_host_that_two_readers_could_understand_differently_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        canonical_host(bad)


def test_a_host_may_be_as_long_as_the_domain_name_system_allows() -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert canonical_host(longest) == f"{longest}:443"
    with pytest.raises(InvalidInput):
        canonical_host(longest + "a")


def test_a_refused_host_is_not_repeated_at_length() -> None:
    with pytest.raises(InvalidInput) as refused:
        canonical_host("x" * 100_000)
    assert len(refused.value.detail) < 400


@given(st.text(alphabet="aA1.:[]@/\\%x#? \u212a-_", max_size=24))
def test_every_accepted_host_is_a_fixed_point_and_fits_its_own_pattern(text: str) -> None:
    try:
        found = canonical_host(text)
    except InvalidInput:
        return
    assert canonical_host(found) == found
    assert HostPattern(found).match(found)


# ---- names


@pytest.mark.parametrize("name", ["orders-db", "a b", "caf\u00e9", "%2e", "x" * 4096])
def test_a_name_stays_as_it_is(name: str) -> None:
    assert canonical("connection", name, "/ws") == ("-", name)


@pytest.mark.parametrize(
    "bad", ["", " a", "a ", "\u00a0a", "a\n", "a\0", "a\x7f", "a\u200b", "a\u202eb", "\ud800", "x" * 4097]
)
def test_a_name_that_looks_like_another_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        canonical("connection", bad, "/ws")


# ---- resources


def test_a_resource_has_an_id_without_its_effect() -> None:
    assert Resource("path", "local", "/srv/a").id == "path://local/srv/a"
    assert Resource("host", "-", "example.org:443", Effect.CHANGE).id == "host://-/example.org:443"
    changed = Resource("path", "local", "/srv/a").as_(Effect.DESTROY)
    assert (changed.id, changed.effect) == ("path://local/srv/a", Effect.DESTROY)


def test_beneath_knows_whole_parts_only() -> None:
    assert beneath("/srv", "/srv")
    assert beneath("/srv/a", "/srv")
    assert beneath("/a", "/")
    assert not beneath("/srv2", "/srv")
    assert not beneath("/", "/srv")


# ---- protected places


@pytest.fixture
def protected() -> Protected:
    return Protected(("/data", "/app/superagent.toml", "/app/.venv"), "/data/workspaces")


@pytest.mark.parametrize(
    "path",
    [
        "/data",
        "/data/state",
        "/data/state/owner.key",
        "/data/state/undo/aa/bb/cc/dd",
        "/data/workspaces",
        "/data/workspaces/t",
        "/app/superagent.toml",
        "/app/.venv/bin/x",
    ],
)
def test_the_platforms_own_places_are_closed(protected: Protected, path: str) -> None:
    assert protected.covers(path)


@pytest.mark.parametrize(
    "path", ["/data/workspaces/t/a", "/data/workspaces/t/a/state/x", "/database", "/app", "/app/.venv2", "/"]
)
def test_workspaces_and_neighbours_are_open(protected: Protected, path: str) -> None:
    assert not protected.covers(path)


def test_the_workspaces_of_other_tenants_are_closed_to_a_tenant(protected: Protected) -> None:
    ours = protected.of_tenant("t")
    names = ["/data/workspaces/t/a", "/data/workspaces/t", "/data/workspaces/t2/a", "/data/workspaces/u/a"]
    assert [ours.covers(name) for name in names] == [False, True, True, True]


def test_a_protected_place_within_a_workspace_is_closed_all_the_same() -> None:
    nested = Protected(("/data", "/data/workspaces/t/a/.venv", "/data/workspaces"), "/data/workspaces")
    assert nested.covers("/data/workspaces/t/a/.venv/bin")
    assert not nested.covers("/data/workspaces/t/a/x")
    assert nested.covers("/data/workspaces/t")


def test_without_a_carve_out_everything_within_is_closed() -> None:
    assert Protected(("/data",)).covers("/data/workspaces/t/a")
    assert not Protected().covers("/data")
    assert Protected(("/",)).covers("/anything")


def test_a_whole_tree_change_around_a_protected_place_is_noticed(protected: Protected) -> None:
    assert [protected.contains_one(path) for path in ("/", "/app", "/app/.venv", "/data/state", "/srv")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_data_folder_behind_a_link_is_closed_by_both_names(tmp_path: Path) -> None:
    real = tmp_path / "disk" / "data"
    (real / "state").mkdir(parents=True)
    (real / "workspaces" / "t" / "a").mkdir(parents=True)
    (real / "state" / "owner.key").write_text("secret")
    link = tmp_path / "data"
    link.symlink_to(real)
    closed = Protected((str(link), os.path.realpath(link)), os.path.realpath(link / "workspaces"))
    for name in (
        link / "state" / "owner.key",
        real / "state" / "owner.key",
        link / "workspaces" / "t",
        link / "workspaces" / "t" / "a",
    ):
        assert closed.covers(canonical_path(str(name), ""))
    # the real name of a workspace is the one that stays open: it is what a descriptor says after opening
    assert not closed.covers(os.path.realpath(link / "workspaces" / "t" / "a"))
