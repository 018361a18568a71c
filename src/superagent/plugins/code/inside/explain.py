"""Run by a Python of the sandbox: what a file imports and defines, and where the workspace uses it.

Written as lines of JSON: the file's own outline first, then the uses in each file, then whether all files were looked
at. So what is known stays known when some other file is more than the parser can take.

Arguments: the workspace, the file in it, its language, the extensions of that language with commas, the seconds of
processor time that looking for uses may take. Standard library only, but for the grammars that lie beside this package.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from . import python_source, tree_source
from .outline import Outline, Use

MOST_BYTES = 2_000_000
MOST_SEARCHED = 500_000
MOST_FILES = 20_000
MOST_USES = 5_000
SKIPPED = {".git", ".venv", "venv", "node_modules", "target", "__pycache__", ".tox", "dist", "build"}
_WORD = re.compile(rb"[A-Za-z_$][A-Za-z0-9_$]*")


def main() -> int:
    """Write the lines."""
    top, target, language, endings, seconds = sys.argv[1:]
    with open(f"{top}/{target}", "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        say({"too_large": MOST_BYTES})
        return 0
    outline = read(data, target, language)
    names = {one.name.rpartition(".")[2] for one in outline.definitions if not one.test}
    own = asdict(outline)
    own.pop("uses")
    say(own)
    said, looked, complete = 0, 0, True
    end = time.process_time() + float(seconds)
    for path in walk(top, tuple(f".{one}" for one in endings.split(","))):
        if looked >= MOST_FILES or said >= MOST_USES or time.process_time() > end:
            complete = False
            break
        looked += 1
        found = list(used(top, path, target, language, names))
        if found:
            say({"uses": found})
            said += len(found)
    say({"looked": looked, "complete": complete})
    return 0


def say(what: dict[str, object]) -> None:
    """Write one line, at once."""
    print(json.dumps(what), flush=True)  # noqa: T201 - this is what it is run for


def read(data: bytes, path: str, language: str) -> Outline:
    """Read one file by the parser of its language."""
    return python_source.read(data, path) if language == "python" else tree_source.read(data, path, language)


def walk(top: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Give the files of a language, relative to the workspace, without what is made or brought from elsewhere."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(one for one in folders if one not in SKIPPED)
        for name in sorted(files):
            if name.endswith(endings):
                yield os.path.relpath(os.path.join(folder, name), top)


def used(top: str, path: str, target: str, language: str, names: set[str]) -> Iterator[dict[str, object]]:
    """Give the places of one file that use one of the names."""
    try:
        if os.path.islink(f"{top}/{path}"):
            return
        with open(f"{top}/{path}", "rb") as file:
            data = file.read(MOST_SEARCHED + 1)
    except OSError:
        return
    if len(data) > MOST_SEARCHED or not names & {one.decode() for one in set(_WORD.findall(data))}:
        return
    for one in read(data, path, language).uses:
        if one.name in names:
            yield {"file": path, "line": one.line, "of": one.name, "within": one.within, "kind": one.kind,
                   "test": one.test, "sure": path == target or leads(one, path, target)}  # fmt: skip


def leads(use: Use, path: str, target: str) -> bool:
    """Tell whether the imports of a file of Python lead from a use to the target."""
    module = use.module
    if not module:
        return False
    whole = re.sub(r"(/__init__)?\.pyi?$", "", target).replace("/", ".")
    if module.startswith("."):
        level = len(module) - len(module.lstrip("."))
        base = path.split("/")[: -level or None]
        module = ".".join([*base, *([module.lstrip(".")] if module.strip(".") else [])])
        return module == whole
    return module == whole or whole.endswith(f".{module}")


if __name__ == "__main__":
    sys.exit(main())
