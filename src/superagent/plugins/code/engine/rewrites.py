"""Rewriting files by a tool that takes text and gives text: the shell that does it inside, and its answer.

For each file the answer has one line, `number code lengths digest`, then the new text where there is one, then what the
tool said. It comes from where a project's own tools run, so nothing of it is believed: each file that was asked about
counts once, other numbers are refused, lengths end where the answer ends.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from .findings import Unreadable, parsed

FILE = "{file}"
MOST_SAID = 2000


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a tool made of one file: `data` is None where it left it as it is, or failed (`failed` says how)."""

    number: int
    sha256: str
    data: bytes | None
    failed: str


def script(words: Sequence[str], fine: Sequence[int]) -> str:
    """Give the shell that rewrites the files named in its input, one a line; `words` may hold `{file}`."""
    line = " ".join(_word(word) for word in words)
    codes = "|".join(str(one) for one in fine)
    return f"""
n=0
while IFS= read -r f; do
  n=$((n+1))
  if ! cat -- "$f" >/tmp/before 2>/tmp/said; then c=failed; : >/tmp/after
  else
    {line} </tmp/before >/tmp/after 2>/tmp/said
    c=$?
  fi
  case $c in
    {codes}) if cmp -s /tmp/before /tmp/after; then c=same; : >/tmp/after; fi; : >/tmp/said;;
    *) : >/tmp/after;;
  esac
  head -c {MOST_SAID} /tmp/said >/tmp/heard
  s=$(sha256sum </tmp/before)
  printf '%s %s %s %s %s\\n' "$n" "$c" "$(wc -c </tmp/after)" "$(wc -c </tmp/heard)" "${{s%% *}}"
  cat /tmp/after /tmp/heard
done
"""


def _word(word: str) -> str:
    before, found, after = word.partition(FILE)
    if not found:
        return shlex.quote(word)
    return (shlex.quote(before) if before else "") + '"$f"' + (shlex.quote(after) if after else "")


def read(data: bytes, count: int, fine: Sequence[int], form: str) -> list[Rewrite]:
    """Read the answer about `count` files. Raises `Unreadable` where it is none, or tells of less than all."""
    found: dict[int, Rewrite] = {}
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        head = data[at:end].decode("ascii", "replace").split() if 0 <= end - at < 200 else []
        numbers = [head[place] for place in (0, 2, 3)] if len(head) == 5 else []
        if not numbers or not all(one.isdecimal() and len(one) < 12 for one in numbers):
            raise Unreadable("its answer is not one of the tool that was asked")
        number, size, said = (int(one) for one in numbers)
        body = data[end + 1 : end + 1 + size]
        words = data[end + 1 + size : end + 1 + size + said]
        if number in found or not 1 <= number <= count or len(body) != size or len(words) != said:
            raise Unreadable("its answer is about other files than it was asked about")
        found[number] = _rewrite(number, head[1], head[4], body, words, fine, form)
        at = end + 1 + size + said
    if len(found) != count:
        raise Unreadable(f"it answered about {len(found)} of {count} files")
    return [found[number] for number in sorted(found)]


def _rewrite(number: int, code: str, sha256: str, body: bytes, words: bytes, fine: Sequence[int], form: str) -> Rewrite:
    if code == "same":
        return Rewrite(number, sha256, None, "")
    if not (code.isdecimal() and int(code) in fine):
        said = words.decode("utf-8", "replace").strip()
        return Rewrite(number, sha256, None, said or f"it ended with {code}")
    if form == "eslint":
        text = _of_eslint(body)
        return Rewrite(number, sha256, None if text is None else text.encode(), "")
    if not body.strip():
        return Rewrite(number, sha256, None, "it gave nothing back")
    return Rewrite(number, sha256, body, "")


def _of_eslint(body: bytes) -> str | None:
    """Take the fixed text out of eslint's own report; None where there was nothing to fix."""
    try:
        output = parsed(body.decode())[0].get("output")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise Unreadable("it is not the eslint report that was asked for") from None
    return output if isinstance(output, str) else None
