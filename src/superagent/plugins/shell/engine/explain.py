"""Explain a command line by its syntax tree: which programs, files and hosts its text names, and how bad that could be.

Nothing is run and nothing looked up. A text says what it names, not what its programs do: what cannot be known from it
is said as such, and never counts as harmless. The grammar is that of bash (tree-sitter).

Only for a process of its own (ADR 53): a text that is no shell can take the parser the square of its length in time and
in memory, much of that behind its end, where nothing stops it (100 kB of `a|`: 189 s and 19 GB).
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bash

from superagent.plugins.shell.engine.found import Found

MOST_NODES = 200_000
MOST_PARSING_S = 0.3  # processor time for all texts of one line
_PART = 4096
_DEEPEST = 5  # texts within texts: `sh -c "sh -c '…'"`
_MOST_WRAPPED = 20
_SHOWN = 200
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>|]+", re.IGNORECASE)
_LOGIN = re.compile(r"(?:[\w.-]+@)?([\w.-]+|\[[0-9a-f:]+\])(?::.*)?", re.IGNORECASE)
_PLAIN = {"word", "number", "raw_string", "string", "string_content", "concatenation", "ansi_c_string"}
_ROOTS = {
    "/",
    "/*",
    "~",
    "~/",
    "~/*",
    "$HOME",
    "${HOME}",
    "$HOME/",
    "/home",
    "/etc",
    "/usr",
    "/var",
    ".",
    "./",
    "*",
    "..",
}


# read with the module: what runs apart opens no file
_KNOWN: dict[str, Any] = tomllib.loads((Path(__file__).parent / "programs.toml").read_text("utf-8"))
_BASH = tree_sitter.Language(tree_sitter_bash.language())


def explained(text: str) -> dict[str, Any]:
    """Read a command line, and give the fields of a `Found`."""
    return asdict(explain(text))


def explain(text: str) -> Found:
    """Read a command line."""
    found = Found()
    _Reading(found).read(text, 0)
    if found.unclear:
        found.worse("HIGH", "a part of what it does is known only when it runs")
    if found.removes:
        found.worse("MEDIUM", "it removes files")
    elif found.writes:
        found.worse("MEDIUM", "it writes files")
    if found.hosts:
        found.worse("MEDIUM", "it talks to other machines")
    if not found.whole:
        found.worse("HIGH", "not all of it could be read")
    found.tidy()
    return found


@dataclass(slots=True)
class _Reading:
    found: Found
    own: set[str] = field(default_factory=set[str])  # functions that the text defines
    nodes: int = 0
    until: float = field(default_factory=lambda: time.thread_time() + MOST_PARSING_S)

    def read(self, text: str, depth: int) -> None:
        """Read a text; those that it runs are read as well."""
        root = _parsed(text, self.until)
        if root is None:
            self.found.whole = False
            return
        if root.has_error:
            self.found.whole = False
        nodes = list(self._walk(root))
        self.own |= {_text(one.child_by_field_name("name")) for one in nodes if one.type == "function_definition"}
        for one in nodes:
            if one.type == "command":
                self._command(one, depth)
            elif one.type == "file_redirect":
                self._redirect(one)
            elif one.type == "pipeline":
                self._pipeline(one)
            elif one.type == "function_definition":
                self._function(one)

    def _walk(self, root: Any) -> Iterator[Any]:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            self.nodes += 1
            if self.nodes > MOST_NODES:
                self.found.whole = False
                return
            yield node
            waiting += reversed(node.children)

    def _command(self, node: Any, depth: int) -> None:
        name_node = node.child_by_field_name("name")
        if name_node is None:  # only assignments
            return
        name = _literal(name_node)
        words = [(_literal(one), _unquoted(one)) for one in node.children_by_field_name("argument")]
        if name is None:
            self.found.unclear.append(f"which program `{_text(name_node)[:_SHOWN]}` is")
            return
        self._run(name, words, depth)

    def _run(self, path: str, words: list[tuple[str | None, str]], depth: int, within: int = 0) -> None:
        """Take in one program with its words: each as it will be (None: not known before) and as it is written."""
        known, found = _KNOWN, self.found
        name = path.rpartition("/")[2]
        if path in self.own:
            return
        if name in ("eval", "source", "."):
            self._again(name, [word for word, _ in words], depth)
        if name in known["builtins"] and "/" not in path:
            return
        found.programs.append(path[:_SHOWN])
        for _, written in words:
            found.hosts += [_host_of(url) for url in _URL.findall(written)]
        options = [word for word, written in words if (word or written).startswith("-")]
        operands = [word if word is not None else written for word, written in words if not written.startswith("-")]
        if name in known["shells"]:
            self._shell(name, words, depth)
        elif name in known["runs"]:
            self._wrapped(name, words, depth, within)
        elif name in known["host"]:
            found.hosts += [match[1] for one in operands[:1] if (match := _LOGIN.fullmatch(one))]
            found.worse("HIGH", f"`{name}` opens connections to wherever it is told")
        elif name in known["fetches"]:
            found.worse("MEDIUM", f"`{name}` fetches from, or sends to, other machines")
            self._fetched(words)
        else:
            self._files(name, options, operands)

    def _files(self, name: str, options: list[str | None], operands: list[str]) -> None:
        known, found = _KNOWN, self.found
        given = operands[1:] if name in known["first_is_text"] else operands
        if name in known["reads"]:
            found.reads += given
            if name == "find" and {"-delete", "-exec", "-execdir"} & set(options):
                found.worse("HIGH", "`find` removes, or runs something on, whatever it finds")
        elif name == "sed":
            changes = any((one or "").startswith(("-i", "--in-place")) for one in options)
            (found.writes if changes else found.reads).extend(given)
        elif name in known["writes"]:
            found.writes += given
            if any("R" in (one or "") for one in options):
                found.worse("HIGH", f"`{name}` changes a whole tree")
        elif name in known["removes"]:
            self._removed(name, options, given)
        elif name in known["copies"]:
            found.reads += given[:-1]
            found.writes += given[-1:]
        elif name in known["moves"]:
            found.removes += given[:-1]
            found.writes += given[-1:]
        elif (why := known["warn"].get(name.partition(".")[0])) is not None:
            found.worse("CRITICAL", f"`{name}` {why}")
            found.writes += [one[3:] for one in given if one.startswith("of=")]
        elif name not in known["harmless"]:
            found.worse("MEDIUM", f"nothing is known of `{name[:_SHOWN]}`")

    def _removed(self, name: str, options: list[str | None], given: list[str]) -> None:
        self.found.removes += given
        if any("$" in one or "`" in one for one in given):
            self.found.worse("HIGH", "which files it removes is known only when it runs")
        flags = "".join(one or "" for one in options)
        if "r" in flags.lower() and name == "rm":
            wide = [one for one in given if one in _ROOTS or not one.strip("/*.")]
            for one in wide:
                self.found.worse("CRITICAL", f"`{name}` removes all of `{one[:_SHOWN]}`")
            if not wide:
                self.found.worse("HIGH", f"`{name}` removes whole folders")

    def _fetched(self, words: list[tuple[str | None, str]]) -> None:
        for (option, _), (value, _) in pairwise(words):
            if option in ("-o", "-O", "--output", "--output-document") and value and "://" not in value:
                self.found.writes.append(value)
        sent = ("-d", "-T", "-F", "--data", "--upload-file", "--form", "--post-data", "--post-file")
        if any((word or "").startswith(sent) for word, _ in words):
            self.found.worse("HIGH", "it sends data to other machines")

    def _shell(self, name: str, words: list[tuple[str | None, str]], depth: int) -> None:
        for at, (word, _) in enumerate(words):
            if word is not None and re.fullmatch(r"-[a-z]*c[a-z]*", word):
                self._again(f"{name} -c", [one for one, _ in words[at + 1 : at + 2]], depth)
                return
        files = [word if word is not None else written for word, written in words if not written.startswith("-")]
        if files:
            self.found.reads += files[:1]
            self.found.unclear.append(f"what the script `{files[0][:_SHOWN]}` does")

    def _wrapped(self, name: str, words: list[tuple[str | None, str]], depth: int, within: int) -> None:
        """Find the program that another one runs: the first word that is no option, no assignment and no number."""
        if within >= _MOST_WRAPPED:
            self.found.unclear.append(f"what more than {_MOST_WRAPPED} programs run that run each other")
            return
        if name in ("sudo", "doas"):
            self.found.worse("HIGH", f"`{name}` runs something with another user's rights")
        for at, (word, written) in enumerate(words):
            if word is None:
                self.found.unclear.append(f"what `{name}` runs: `{written[:_SHOWN]}`")
                return
            if not word.startswith("-") and "=" not in word and not re.fullmatch(r"[0-9.]+[smhd]?", word):
                self._run(word, words[at + 1 :], depth, within + 1)
                if name == "xargs":
                    self.found.unclear.append(f"on what `{word[:_SHOWN]}` is run: its input says it")
                return

    def _again(self, name: str, texts: list[str | None], depth: int) -> None:
        """Read a text that is run as another one."""
        if name in ("source", "."):
            self.found.unclear.append("what the file that it reads in does")
        elif None in texts or not texts:
            self.found.unclear.append(f"what `{name}` runs")
        elif depth >= _DEEPEST:
            self.found.unclear.append("what lies deeper than five texts within each other")
        else:
            self.read(" ".join(one or "" for one in texts), depth + 1)

    def _redirect(self, node: Any) -> None:
        operator = next((one.type for one in node.children if one.type in _WRITING or one.type == "<"), "")
        for target in node.children_by_field_name("destination"):
            name = _literal(target) or _unquoted(target)
            if operator == "<":
                self.found.reads.append(name)
            elif operator and name not in ("/dev/null", "/dev/stdout", "/dev/stderr") and not name.isdigit():
                self.found.writes.append(name)
                if name.startswith("/dev/"):
                    self.found.worse("CRITICAL", f"it writes to the device `{name[:_SHOWN]}`")

    def _pipeline(self, node: Any) -> None:
        """Notice what is fetched and run at once."""
        names = [
            (_literal(name) or "").rpartition("/")[2]
            for one in node.named_children
            if one.type == "command" and (name := one.child_by_field_name("name")) is not None
        ]
        fetched = False
        for name in names:
            if fetched and (name in _KNOWN["shells"] or name.startswith(("python", "perl", "ruby", "node", "sudo"))):
                self.found.worse("CRITICAL", "it runs what it fetches, unseen")
            fetched = fetched or name in _KNOWN["fetches"]

    def _function(self, node: Any) -> None:
        name = _text(node.child_by_field_name("name"))
        called = [one for one in self._walk(node) if one.type == "command_name" and _text(one) == name]
        if len(called) > 1:
            self.found.worse("CRITICAL", f"the function `{name[:_SHOWN]}` calls itself more than once: a fork bomb")


_WRITING = {">", ">>", ">|", "&>", "&>>", ">&", "<>"}


def _host_of(url: str) -> str:
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return authority.rpartition("@")[2][:_SHOWN].lower()


def _text(node: Any) -> str:
    return "" if node is None else node.text.decode("utf-8", "replace")


def _unquoted(node: Any) -> str:
    """Give a word as it is written, without quotes around it."""
    text = _text(node)
    return text[1:-1] if node.type == "string" and len(text) > 1 else text


def _literal(node: Any) -> str | None:
    """Give a word as the shell will see it; None where it holds something that is known only when it runs."""
    if node.type == "command_name":
        return None if len(node.named_children) != 1 else _literal(node.named_children[0])
    if node.type not in _PLAIN:
        return None
    if node.type == "raw_string":
        return _text(node)[1:-1]
    if node.type == "string" and all(one.type == "string_content" for one in node.named_children):
        return re.sub(r"\\([$`\"\\\n])", r"\1", _text(node)[1:-1])
    if node.type in ("string", "concatenation"):
        parts = [_literal(one) for one in node.named_children]
        return None if None in parts else "".join(one or "" for one in parts)
    return re.sub(r"\\(.)", r"\1", _text(node)) if node.type == "word" else _text(node)


def _parsed(text: str, until: float) -> Any:
    """Give the root of the tree; None when it could not be made by then, in processor seconds of this thread."""
    data = text.encode()
    parser = tree_sitter.Parser(_BASH)
    # given in parts: then it says how far it is, and lets other threads run meanwhile
    try:
        tree = parser.parse(
            lambda at, _: data[at : at + _PART], progress_callback=lambda at, bad: time.thread_time() > until
        )
    except ValueError:  # it was stopped
        return None
    return tree.root_node
