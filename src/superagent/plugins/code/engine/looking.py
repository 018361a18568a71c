"""Looking for tools: a small shell script that says what is there, run where the tools would run, and its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .table import Language, ToolRow

# prints lines of `kind TAB what TAB where`; reads nothing but names and permissions, and the texts that it is told of
SCRIPT = r"""
set -f
IFS='
'
for d in $DIRS; do
  for m in $MARKERS; do [ -e "$d/$m" ] && printf 'marker\t%s\t%s\n' "$m" "$d"; done
  for c in $TEXTS; do
    f=${c%%:*} t=${c#*:}
    [ -f "$d/$f" ] && head -c 1000000 "$d/$f" | grep -qF -e "$t" && printf 'marker\t%s\t%s\n' "$c" "$d"
  done
done
for p in $PROGRAMS; do
  for d in $DIRS; do
    for b in .venv/bin venv/bin node_modules/.bin; do
      [ -f "$d/$b/$p" ] && [ -x "$d/$b/$p" ] && printf 'program\t%s\t%s\n' "$p" "$d/$b/$p"
    done
  done
  f=$(command -v "$p") && [ "${f#/}" != "$f" ] && printf 'program\t%s\t%s\n' "$p" "$f"
done
for d in $DIRS ''; do
  [ -n "$MODULES" ] || break
  for b in .venv/bin/python venv/bin/python; do
    if [ -z "$d" ]; then b=python3; else b=$d/$b; [ -x "$b" ] || continue; fi
    "$b" -I -S -c '' 2>/dev/null || continue
    for m in $MODULES; do
      "$b" -I -c 'import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)' "$m" 2>/dev/null &&
        printf 'module\t%s\t%s\n' "$m" "$b"
    done
    [ -n "$d" ] || break
  done
done
[ -d "$TARGET" ] && printf 'folder\t\t%s\n' "$TARGET"
[ -f "$TARGET" ] && printf 'file\t\t%s\n' "$TARGET"
exit 0
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there: where each program and module was found first, and which marks lie in which folders."""

    kind: str = ""
    programs: dict[str, str] = field(default_factory=dict[str, str])
    modules: dict[str, str] = field(default_factory=dict[str, str])
    marks: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def where(self, row: ToolRow) -> str:
        """Give the program of a tool, or the Python that has its module; empty when it is not there."""
        if row.module:
            return self.modules.get(row.module, "")
        return next((self.programs[one] for one in row.program if one in self.programs), "")

    def configured(self, row: ToolRow) -> tuple[str, str] | None:
        """Give the file that says that the project uses a tool, and the folder it lies in."""
        for mark in row.configured:
            if mark in self.marks:
                return mark.partition(":")[0], self.marks[mark][0]
        return None


def folders_above(inside: str, top: str, *, is_file: bool) -> list[str]:
    """Give the folder of a path and those above it, up to the workspace."""
    at = inside.rpartition("/")[0] if is_file and inside != top else inside
    found = [at]
    while at != top:
        at = at.rpartition("/")[0]
        found.append(at)
    return found


def variables(target: str, top: str, rows: Iterable[ToolRow], languages: Iterable[Language]) -> dict[str, str]:
    """Give what the script is told."""
    marks = dict.fromkeys(mark for one in languages for mark in one.markers)
    rows = list(rows)
    marks |= dict.fromkeys(mark for one in rows for mark in one.configured)
    # a file has no markers beneath it, so that it may be a folder does no harm
    return {
        "DIRS": "\n".join(folders_above(target, top, is_file=False)),
        "MARKERS": "\n".join(one for one in marks if ":" not in one),
        "TEXTS": "\n".join(one for one in marks if ":" in one),
        "PROGRAMS": "\n".join(dict.fromkeys(name for one in rows for name in one.program)),
        "MODULES": "\n".join(dict.fromkeys(one.module for one in rows if one.module)),
        "TARGET": target,
    }


def read(answer: str) -> Seen:
    """Read what the script printed; of several places the first counts."""
    seen = Seen()
    kind = ""
    for line in answer.splitlines():
        what, _, rest = line.partition("\t")
        name, _, where = rest.partition("\t")
        if what == "marker":
            seen.marks.setdefault(name, []).append(where)
        elif what == "program":
            seen.programs.setdefault(name, where)
        elif what == "module":
            seen.modules.setdefault(name, where)
        elif what in ("folder", "file"):
            kind = what
    return Seen(kind, seen.programs, seen.modules, seen.marks)
