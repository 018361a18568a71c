"""The operation that explains a file by its structure: what it imports and defines, who calls it, which tests name it.

Parsers are given text of unknown origin, so they run inside the sandbox as well: Python's own for Python, tree-sitter
for the rest, handed in as one archive.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import (
    SCRIPT,
    Command,
    Context,
    Example,
    Internal,
    InvalidInput,
    NotFound,
    Output,
    ReadPath,
    Risk,
    TooLarge,
    Unavailable,
)

from .engine.clean import line, within
from .engine.table import table
from .line import INSIDE, RUNS, Limit, Tool, code, place_of, reads_workspace, run, said, whole

LOOK_S = 3.0
"""Seconds of processor time for looking through the workspace; the profile gives ten to everything."""
GRAMMARS = ("javascript", "typescript", "go", "rust", "bash")
LANGUAGES = ("python", *GRAMMARS)

Lines = Annotated[str, Field(pattern=r"^[0-9]{1,7}(-[0-9]{0,7})?$", description="such as 10-20, counted from 1")]


class Imported(Output):
    """Something that the file takes from elsewhere."""

    module: str
    names: list[str]
    line: int


class Defined(Output):
    """Something that the file defines; `name` has the names around it, `doc` the first line said about it."""

    name: str
    kind: str
    line: int
    end_line: int
    signature: str
    doc: str


class UsedAt(Output):
    """A place that uses something of the file: `of` is its name, `within` what the place lies in.

    `sure` says that it is in the same file or that imports lead there; otherwise only the name is the same.
    """

    of: str
    file: str
    line: int
    within: str
    kind: str
    sure: bool


class Explained(Output):
    """The structure of a file; `fault` says what the parser could not read.

    `complete` says whether all files of the language were looked at, and for as long as it took.
    """

    file: str
    language: str
    tool: Tool
    imports: list[Imported]
    definitions: list[Defined]
    callers: list[UsedAt]
    tests: list[UsedAt]
    truncated: bool
    looked_at: int
    complete: bool
    fault: str | None


@code.operation(
    reaches=RUNS,
    risk=Risk.LOW,
    timeout_s=120.0,
    examples=(Example("what a module holds, and who uses it", {"path": "src/app.py"}),),
)
async def explain(ctx: Context, path: ReadPath, lines: Lines | None = None, limit: Limit = 200) -> Explained:
    """Explain a file by its structure: imports, definitions with their lines, callers and tests in the workspace.

    Found by real parsers (Python, JavaScript, TypeScript, Go, Rust, shell), never guessed; with `lines`, only what is
    defined there. Names are not followed through types: `sure` says where imports lead to the file.
    """
    place = place_of(ctx, path)
    language = table().language_of(place.inside)
    if language not in LANGUAGES:
        raise InvalidInput(
            f"`{place.path}` is no file in a language that can be explained",
            hint=f"name a file, of {', '.join(LANGUAGES)}",
        )
    ran = await run(
        ctx,
        Command(
            ["sh", "-c", _finding(language), "code.explain", *_words(place.relative, language)],
            profile="read-only",
            script=await ctx.thread(archive, language),
            inline_bytes=1024 * 1024,
        ),
    )
    if ran.ended.code == 66:
        raise NotFound(f"there is no file `{place.path}`")
    shown = said(ran, ran.stderr)
    if ran.ended.code == 69:
        raise Unavailable(
            f"no Python in /usr can run the parser of {language}", hint=f"apt install {_pythons(language)[0]}"
        )
    try:
        found = await ctx.thread(_answer, await whole(ctx, ran.stdout, "what the parser found"))
    except (KeyError, TypeError, ValueError) as bad:
        raise Internal("the parser's answer is not what it should be") from bad
    if not found:
        limited = f"it met the limit `{ran.ended.limit}`" if ran.ended.limit else shown.output[-1000:]
        raise InvalidInput(f"`{place.path}` cannot be read by the parser of {language}: {limited}")
    if "too_large" in found:
        raise TooLarge(f"`{place.path}` has more than the {found['too_large']} bytes that are read")
    program = shown.output.partition("\n")[0]
    try:
        return await ctx.thread(_explained, found, place.relative, language, program, _range(lines), limit)
    except (KeyError, TypeError, ValueError) as bad:
        raise Internal("the parser's answer is not what it should be") from bad


explain.touches(reads_workspace)


def _answer(data: bytes) -> dict[str, Any]:
    """Put the lines together; empty when the parser did not even get through the file itself."""
    found: dict[str, Any] = {}
    uses: list[dict[str, Any]] = []
    for row in data.splitlines(keepends=True):
        if not row.endswith(b"\n"):
            break  # it was ended while it wrote
        said = json.loads(row)
        uses += said.pop("uses", [])
        found |= said
    return {"looked": 0, "complete": False, **found, "uses": uses} if found else {}


def _explained(
    found: dict[str, Any], file: str, language: str, program: str, lines: tuple[int, int], limit: int
) -> Explained:
    definitions = [one for one in found["definitions"] if one["end_line"] >= lines[0] and one["line"] <= lines[1]]
    names = {one["name"].rpartition(".")[2] for one in definitions}
    uses = [
        UsedAt(
            of=line(one["of"], 200),
            file=place,
            line=one["line"],
            within=line(one["within"], 300),
            kind=one["kind"],
            sure=one["sure"],
        )
        for one in found["uses"]
        if one["of"] in names and (place := within(one["file"], INSIDE, INSIDE)) is not None
        and (one["test"] or one["kind"] == "call")
    ]  # fmt: skip
    tests = [one for one, raw in zip(uses, _kept(found["uses"], names), strict=True) if raw["test"]]
    callers = [one for one, raw in zip(uses, _kept(found["uses"], names), strict=True) if not raw["test"]]
    callers.sort(key=lambda one: not one.sure)
    why = "the parser of Python itself" if language == "python" else "tree-sitter's grammar, run inside the sandbox"
    return Explained(
        file=file,
        language=language,
        tool=Tool(name="ast" if language == "python" else "tree-sitter", path=program, why=f"{language}: {why}"),
        imports=[
            Imported(
                module=line(one["module"], 300), names=[line(name, 200) for name in one["names"]], line=one["line"]
            )
            for one in found["imports"][:limit]
            if lines[0] <= one["line"] <= lines[1]
        ],
        definitions=[
            Defined(
                name=line(one["name"], 300),
                kind=one["kind"],
                line=one["line"],
                end_line=one["end_line"],
                signature=line(one["signature"], 300),
                doc=line(one["doc"], 300),
            )
            for one in definitions[:limit]
        ],
        callers=callers[:limit],
        tests=tests[:limit],
        truncated=max(len(definitions), len(callers), len(tests), len(found["imports"])) > limit,
        looked_at=found["looked"],
        complete=found["complete"],
        fault=line(found["fault"], 500) or None,
    )


def _kept(uses: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [
        one
        for one in uses
        if one["of"] in names
        and within(one["file"], INSIDE, INSIDE) is not None
        and (one["test"] or one["kind"] == "call")
    ]


def _range(lines: str | None) -> tuple[int, int]:
    if lines is None:
        return 1, 2**31
    first, dash, last = lines.partition("-")
    found = int(first), int(last) if last else (2**31 if dash else int(first))
    if not 1 <= found[0] <= found[1]:
        raise InvalidInput(f"`{lines}` are no lines", hint="such as `10-20` or `100-`, counted from 1")
    return found


def _words(relative: str, language: str) -> list[str]:
    endings = table().languages[language].extensions
    return [INSIDE, relative, language, ",".join(endings), str(LOOK_S)]


def _pythons(language: str) -> list[str]:
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return ["python3"] if language == "python" else [own, "python3"]


def _finding(language: str) -> str:
    """Give the shell that finds a Python for the parser: compiled parsers are for one version, the server's own."""
    version = f"({sys.version_info.major}, {sys.version_info.minor})"
    test = "sys.version_info < (3, 10)" if language == "python" else f"sys.version_info[:2] != {version}"
    look = shlex.quote(f"import sys; sys.exit({test})")
    return f"""
[ -f "$1/$2" ] || exit 66
for p in {" ".join(_pythons(language))}; do
  p=$(command -v "$p") || continue
  "$p" -I -S -c {look} || continue
  echo "$p" >&2
  exec "$p" -I -S {SCRIPT} "$@"
done
exit 69
"""


@cache
def archive(language: str) -> bytes:
    """Give the program that reads a language, as one archive that Python runs.

    Raises `Unavailable` where its grammar is not installed.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as box:
        box.writestr("__main__.py", _MAIN)
        for file in sorted((Path(__file__).parent / "inside").glob("*.py")):
            box.write(file, f"inside/{file.name}")
        for name in () if language == "python" else ("tree_sitter", f"tree_sitter_{language}"):
            found = importlib.util.find_spec(name)
            if found is None or found.origin is None:
                raise Unavailable(
                    f"the parser of {language} is not installed", hint="install superagent with its extra `code`"
                )
            for file in sorted(Path(found.origin).parent.glob("*")):
                if file.suffix in (".py", ".so"):
                    box.write(file, f"parsers/{name}/{file.name}")
    return made.getvalue()


# compiled parsers cannot be loaded out of an archive, so they are put into the sandbox's own /tmp first
_MAIN = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[0]) as box:
    wanted = [name for name in box.namelist() if name.startswith("parsers/")]
    if wanted:
        box.extractall("/tmp", wanted)
        sys.path.insert(0, "/tmp/parsers")
from inside.explain import main
sys.exit(main())
"""
