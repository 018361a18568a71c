"""Patterns: what a star stands for, and that no pattern can be made slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.patterns import HostPattern, PathPattern, Text, glob_of, path_patterns


def of(source: str) -> PathPattern:
    return path_patterns(source, "", ())[0]


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("/", ["/"], ["/a"]),
        ("/srv", ["/srv"], ["/srv/a", "/srv2", "/", "/SRV"]),
        ("/**", ["/", "/a", "/a/b"], []),
        ("/srv/**", ["/srv", "/srv/a", "/srv/a/b"], ["/srv2", "/srv2/a", "/", "/a/srv"]),
        ("/srv/*", ["/srv/a", "/srv/.x"], ["/srv", "/srv/a/b"]),
        ("/srv/*/**", ["/srv/a", "/srv/a/b/c"], ["/srv", "/srv2/a"]),
        ("/**/x", ["/x", "/a/x", "/a/b/x"], ["/", "/a/xx", "/x/a", "/ax"]),
        ("/srv/**/x", ["/srv/x", "/srv/a/b/x"], ["/srv", "/x", "/srv/x/y"]),
        (
            "/srv/**/.git/**",
            ["/srv/.git", "/srv/a/.git/b", "/srv/.git/.git"],
            ["/srv", "/srv/git", "/.git", "/srv/a.git/b"],
        ),
        ("/a/**/a", ["/a/a", "/a/b/a"], ["/a"]),
        ("/a/**/b/**/c", ["/a/b/c", "/a/x/b/y/c", "/a/b/b/c"], ["/a/c", "/a/b", "/a/c/b"]),
        ("/a/**/b*/c/**", ["/a/b/b1/c", "/a/bb/x/b/c/d"], ["/a/b/x/c"]),
        ("/srv/a*b", ["/srv/ab", "/srv/axxb"], ["/srv/a/b", "/srv/aXbc", "/srv/a"]),
        ("/*a*b*", ["/ab", "/xaybz"], ["/ba", "/a/b"]),
        ("/aa*aa", ["/aaaa", "/aaxaa"], ["/aaa", "/aa"]),
        ("/a*bc*c", ["/abcc", "/abcbc"], ["/axbc", "/abc"]),
        ("/x]y{z}", ["/x]y{z}"], ["/xyz"]),
        ("/caf\u00e9", ["/caf\u00e9"], ["/cafe\u0301"]),
        ("/**/**", ["/", "/a/b"], []),
    ],
)
def test_a_path_pattern_covers(pattern: str, fits: list[str], does_not: list[str]) -> None:
    assert [name for name in fits if not of(pattern).match(name)] == []
    assert [name for name in does_not if of(pattern).match(name)] == []


@pytest.mark.parametrize(
    ("pattern", "anchor", "root", "tree"),
    [
        ("/", "/", "/", False),
        ("/**", "/", "/", True),
        ("/srv/**", "/srv", "/srv", True),
        ("/srv/a.txt", "/srv/a.txt", "/srv", False),
        ("/a.txt", "/a.txt", "/", False),
        ("/srv/*.txt", "/srv", "/srv", False),
        ("/srv/*/**", "/srv", "/srv", False),
        ("/srv/**/x", "/srv", "/srv", False),
        ("/srv/**/**", "/srv", "/srv", False),
        ("/**/x", "/", "/", False),
    ],
)
def test_a_path_pattern_knows_its_literal_folder(pattern: str, anchor: str, root: str, tree: bool) -> None:
    found = of(pattern)
    assert (found.anchor, found.root, found.tree) == (anchor, root, tree)


ALPHABET = st.sampled_from(["a", "b", "ab", "aab", "."])
TEXTS = st.lists(ALPHABET, min_size=1, max_size=3).map("".join)
STARRED = st.lists(st.sampled_from(["a", "b", "*", "**", "ab*"]), min_size=1, max_size=4).map("".join)


@given(st.lists(STARRED | st.just("**"), max_size=5), st.lists(TEXTS, max_size=6))
def test_path_patterns_agree_with_a_regular_expression(pattern: list[str], parts: list[str]) -> None:
    plain = ""
    for part in pattern:
        # as a part of its own `**` is any parts; within one, two stars are as good as one
        plain += "(/[^/]+)*" if part == "**" else "/" + re.escape(part).replace(r"\*", "[^/]*")
    expected = re.fullmatch(plain, "".join(f"/{part}" for part in parts)) is not None
    assert of("/" + "/".join(pattern)).match("/" + "/".join(parts)) == expected


@given(st.text(alphabet="ab*\n", max_size=8), st.text(alphabet="ab*\n", max_size=12))
def test_a_text_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    assert Text.of(pattern).match(text) == expected


@given(st.text(alphabet="ab", max_size=8))
def test_a_literal_fits_nothing_but_itself(text: str) -> None:
    assert Text("*").match("*")
    assert not Text("*").match(text)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("example.org", ["example.org:443", "example.org:80"], ["api.example.org:443", "evil-example.org:443"]),
        ("example.org:443", ["example.org:443"], ["example.org:80", "example.org:4430"]),
        ("EXAMPLE.org.:0443", ["example.org:443"], ["example.org:80"]),
        ("*.example.org:*", ["a.example.org:1", "a.b.example.org:2"], ["example.org:443", "example.org.evil.net:443"]),
        ("*", ["x:1", "[::1]:443"], []),
        ("a*.org", ["a.org:1", "ab.c.org:1"], ["b.org:1"]),
        ("*-x.example.org", ["a-x.example.org:1"], ["a.example.org:1"]),
        ("[2001:DB8:0::1]:443", ["[2001:db8::1]:443"], ["[2001:db8::1]:80", "[2001:db8::2]:443"]),
        ("[::ffff:10.0.0.1]", ["10.0.0.1:443"], ["10.0.0.2:443"]),
        ("10.0.0.1", ["10.0.0.1:443"], ["10.0.0.11:443"]),
    ],
)
def test_a_host_pattern_covers(pattern: str, fits: list[str], does_not: list[str]) -> None:
    assert [name for name in fits if not HostPattern(pattern).match(name)] == []
    assert [name for name in does_not if HostPattern(pattern).match(name)] == []


@pytest.mark.parametrize(
    ("pattern", "anchor"),
    [
        ("example.org", "example.org"),
        ("*.example.org:1", "example.org"),
        ("*b.org", "org"),
        ("*", ""),
        ("*org", ""),
        ("a.*", ""),
    ],
)
def test_a_host_pattern_knows_its_literal_domain(pattern: str, anchor: str) -> None:
    assert HostPattern(pattern).anchor == anchor


@pytest.mark.parametrize(
    "bad",
    [
        "", ":443", "a:0", "a:65536", "a:x", "a:443:443", "::1", "[::1", "[x]", "[::1%eth0]", "a b", "a/b", "user@a",
        "b\u00fccher.de",
        "a..b", ".a", "0x7f.1", "1.2.3", "127.1", "2130706433", "a\n", "a:443\n", "\uff41.org", "-a.org\u212a",
        "https://a",
    ],
)  # fmt: skip
def test_a_host_pattern_that_could_never_fit_or_be_misread_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        HostPattern(bad)


def test_a_search_pattern_also_knows_one_character() -> None:
    found = glob_of("src/**/t?st_*.p?")
    assert [
        name
        for name in ("src/test_a.py", "src/a/tast_.pi", "src/tst_a.py", "src/test_a.pyc", "test_a.py")
        if found.match(name)
    ] == [
        "src/test_a.py",
        "src/a/tast_.pi",
    ]
    assert glob_of("**/x/**/x/**").match("a/x/b/x/c")
    assert not glob_of("**/x/**/x/**").match("a/x/b")
    assert not glob_of("**/x/**/y/**").match("y/x")
    assert glob_of("?").match("\n")
    assert glob_of("a?*b*c").match("axbxc")
    assert not glob_of("a?*b*c").match("abc")
    assert not glob_of("?").match("ab")
    assert glob_of("?a").root == "/"


@given(
    st.text(alphabet="ab?*", max_size=8).filter(lambda text: text and text != "**"),
    st.text(alphabet="ab?*", min_size=1, max_size=10),
)
def test_a_search_pattern_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    plain = "".join(".*" if char == "*" else "." if char == "?" else char for char in pattern)
    assert glob_of(pattern).match(text) == (re.fullmatch(plain, text) is not None)


def test_no_pattern_can_be_made_slow() -> None:
    """A matcher that tries again would need ages for any of these."""
    text = "a" * 4000
    stars = [
        Text.of("*a" * 500 + "b"),
        Text.of("*" + "a*" * 1000 + "b*"),
        Text.of("a*" * 2000),
        glob_of("a?*" * 100 + "b"),
    ]
    deep = "/a" * 2000
    paths = [of("/**/" + "a/" * 30 + "b/**/c"), of("/**/" + "*a*a*/" * 30 + "b/**"), of("/*a*a*a*a*b/**/x")]
    start = time.process_time()
    assert not any(pattern.match(text + "c") for pattern in stars[:2])
    assert stars[2].match(text)
    assert not stars[3].match(text)
    assert not any(pattern.match(deep) for pattern in paths)
    assert time.process_time() - start < 1.0
