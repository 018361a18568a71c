"""Policy as files: JSON and TOML in a stable order, so that Git shows what changed and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from superagent.sdk import Grant, InvalidInput, faults_of
from superagent.sdk import policy_text as text

Format = Literal["toml", "json"]
MOST_GRANTS = 10_000
LONGEST = 4 * 1024 * 1024
# the library's time grows with the square of a name's parts; a grant has four
_MOST_PARTS = 32
_QUOTED_OR_SAID = re.compile(
    r'''"""(?:[^\\"]|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)|"(?:[^"\\\n]|\\.)*+"?|'''
    r"""'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)|'[^'\n]*+'?|#[^\n]*+""",
    re.DOTALL,
)
_MANY_PARTS = re.compile(rf"(?<![A-Za-z0-9_-])(?:[A-Za-z0-9_-]++[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}")


class Document(BaseModel):
    """What a policy file holds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    grants: list[Grant] = Field(max_length=MOST_GRANTS)


def written(grants: Iterable[Grant], format: Format) -> str:
    """Write grants as a file. Raises `InvalidInput` for TOML where a grant compares with null."""
    bodies = [text.body(one) for one in text.ordered(grants)]
    if format == "json":
        return json.dumps({"grants": bodies}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return _toml(bodies)


def read(source: str, format: Format) -> list[Grant]:
    """Read a file. Raises `InvalidInput` with the place of each fault."""
    if len(source) > LONGEST:
        raise InvalidInput(f"a policy file has at most {LONGEST} characters")
    try:
        data = json.loads(source, object_pairs_hook=_once) if format == "json" else _tables(source)
        grants = Document.model_validate({"grants": []} | data if isinstance(data, dict) else data).grants
    except ValidationError as bad:
        raise InvalidInput("the file is no policy", errors=faults_of(bad)) from None
    except (ValueError, RecursionError) as bad:
        raise InvalidInput(f"the file is not {format.upper()}: {str(bad)[:200]}") from None
    for grant in grants:
        checked(grant)
    return grants


def _tables(source: str) -> dict[str, Any]:
    """Read TOML, unless a name in it has very many parts. Raises `InvalidInput`, `ValueError`."""
    if _MANY_PARTS.search(_QUOTED_OR_SAID.sub("s", source)):
        raise InvalidInput(f"a name in the file has more than {_MOST_PARTS} parts", hint="a grant needs few")
    return tomllib.loads(source)


def checked(grant: Grant) -> Grant:
    """Give a grant that may be written into a policy. Raises `InvalidInput`."""
    if not grant.subject or grant.id:
        raise InvalidInput("a grant needs a `subject` and no `id`", hint='for example "subject": "agent:builder"')
    if grant.subject.startswith("key:"):
        raise InvalidInput("what a key may is said when it is made", hint="name the agent instead: `agent:…`")
    return grant


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose names are all different: of two, a reader would see the one that does not count."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _toml(bodies: list[dict[str, object]]) -> str:
    """Write TOML by hand: the libraries keep comments and spaces, and take minutes for ten thousand grants."""
    if not bodies:
        return "grants = []\n"
    return "\n".join(
        "[[grants]]\n" + "".join(f"{name} = {_value(body[name])}\n" for name in sorted(body)) for body in bodies
    )


def _value(value: Any) -> str:
    if value is None:
        raise InvalidInput("a grant compares an argument with null, which TOML cannot write", hint="use JSON")
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return "{ " + ", ".join(f"{_text(name)} = {_value(named[name])}" for name in sorted(named)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, cast("list[Any]", value))) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Write a TOML basic string: like JSON's, but DEL is escaped, and what is not ASCII stands as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
