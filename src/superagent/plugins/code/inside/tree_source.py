"""Languages that tree-sitter has a grammar of: JavaScript, TypeScript, Go, Rust, shell.

Nothing but tree-sitter and the standard library; the grammars lie beside this package.
"""

from __future__ import annotations

import importlib
from typing import Any

from .outline import Definition, Import, Outline, Use

_SCRIPT = {
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "class_declaration": "class",
    "abstract_class_declaration": "class",
    "method_definition": "method",
    "interface_declaration": "interface",
    "type_alias_declaration": "type",
    "enum_declaration": "enum",
}
# kinds of nodes that define something by a field `name`, and what they are called
_DEFINES = {
    "javascript": _SCRIPT,
    "typescript": _SCRIPT,
    "go": {"function_declaration": "function", "method_declaration": "method", "type_spec": "type"},
    "rust": {
        "function_item": "function",
        "struct_item": "struct",
        "enum_item": "enum",
        "trait_item": "trait",
        "mod_item": "module",
        "type_item": "type",
        "const_item": "constant",
        "static_item": "constant",
        "macro_definition": "macro",
    },
    "bash": {"function_definition": "function"},
}
# kinds of nodes that call something, and the field that says what
_CALLS = {
    "call_expression": "function",
    "new_expression": "constructor",
    "macro_invocation": "macro",
    "command": "name",
}
_LAST = {
    "member_expression": "property",
    "selector_expression": "field",
    "scoped_identifier": "name",
    "field_expression": "field",
}
_BLOCKS = ("test", "it", "describe", "suite")
_NAMES = ("identifier", "property_identifier", "field_identifier", "type_identifier", "shorthand_property_identifier")

_Above = tuple[Any, Any] | None  # the parent, and what is above that


def read(data: bytes, path: str, language: str) -> Outline:
    """Read one file."""
    return _Reader(data, path, language).read()


def _parser(path: str, language: str) -> Any:
    core: Any = importlib.import_module("tree_sitter")
    grammar: Any = importlib.import_module(f"tree_sitter_{language}")
    if language == "typescript":
        made = grammar.language_tsx() if path.endswith("tsx") else grammar.language_typescript()
    else:
        made = grammar.language()
    return core.Parser(core.Language(made))


class _Reader:
    def __init__(self, data: bytes, path: str, language: str) -> None:
        self._data = data
        self._path = path
        self._language = language
        self._found = Outline()
        self._around: list[tuple[int, str, bool]] = []  # end, name, whether it is a test
        self._above: _Above = None

    def read(self) -> Outline:
        """Go through the tree in the order of the text."""
        root = _parser(self._path, self._language).parse(self._data).root_node
        waiting: list[tuple[Any, _Above]] = [(root, None)]
        while waiting:
            node, self._above = waiting.pop()  # to ask a node for its parent takes as long as the tree is deep
            while self._around and self._around[-1][0] <= node.start_byte:
                self._around.pop()
            if node.type == "ERROR" and not self._found.fault:
                self._found.fault = f"line {node.start_point[0] + 1}: it is not understood from here on"
            self._look(node)
            waiting.extend((child, (node, self._above)) for child in reversed(node.children))
        return self._found

    def _look(self, node: Any) -> None:
        kind = _DEFINES[self._language].get(node.type)
        if kind is not None:
            self._defined(node, kind, self._text(node.child_by_field_name("name")))
        elif node.type == "impl_item":
            self._enter(node, self._text(node.child_by_field_name("type")), False)
        elif node.type == "variable_declarator":
            value = node.child_by_field_name("value")
            if value is not None and value.type in ("arrow_function", "function_expression", "class"):
                self._defined(
                    node, "class" if value.type == "class" else "function", self._text(node.child_by_field_name("name"))
                )
        elif node.type in ("import_statement", "export_statement", "import_spec", "use_declaration"):
            self._import(node)
        elif node.type in _CALLS:
            self._call(node)
        elif node.type in _NAMES and not self._names_a_definition(node):
            self._use(self._text(node), node, "name")

    def _defined(self, node: Any, kind: str, name: str) -> None:
        if not name:
            return
        receiver = node.child_by_field_name("receiver")
        outer = self._text(receiver).strip("()").split()[-1:] if receiver is not None else []
        full = ".".join([*(one.lstrip("*") for one in outer), *(one for _, one, _ in self._around), name])
        if kind == "function" and self._language == "rust" and self._kind_above(1) == "impl_item":
            kind = "method"
        body = node.child_by_field_name("body")
        end = body.start_byte if body is not None else min(node.end_byte, node.start_byte + 300)
        signature = " ".join(
            self._data[node.start_byte : min(end, node.start_byte + 400)].decode("utf-8", "replace").split()
        )
        test = self._is_test(node, name)
        self._found.definitions.append(
            Definition(
                full,
                kind,
                node.start_point[0] + 1,
                node.end_point[0] + 1,
                signature[:300].rstrip("{ "),
                self._doc(node),
                test,
            )
        )
        self._enter(node, name, test)

    def _enter(self, node: Any, name: str, test: bool) -> None:
        self._around.append((node.end_byte, name, test))

    def _is_test(self, node: Any, name: str) -> bool:
        if self._language == "go":
            return self._path.endswith("_test.go") and name.startswith(("Test", "Benchmark", "Fuzz", "Example"))
        before = node.prev_named_sibling
        while self._language == "rust" and before is not None and before.type == "attribute_item":
            if self._text(before).strip("#[] ").split("(")[0].endswith("test"):
                return True
            before = before.prev_named_sibling
        return False

    def _doc(self, node: Any) -> str:
        wrapped = self._above is not None and self._kind_above(0) in ("export_statement", "type_declaration")
        outer = self._above[0] if wrapped and self._above is not None else node
        before, first = outer.prev_named_sibling, ""
        while before is not None and before.type in ("comment", "line_comment", "block_comment", "attribute_item"):
            if before.type != "attribute_item":
                first = self._text(before)
            before = before.prev_named_sibling
        lines = [line.strip().lstrip("/*#!").strip() for line in first.splitlines()]
        return next((line for line in lines if line), "")[:300]

    def _import(self, node: Any) -> None:
        line = node.start_point[0] + 1
        if node.type == "use_declaration":
            self._found.imports.append(
                Import(" ".join(self._text(node.child_by_field_name("argument")).split()), [], line)
            )
            return
        source = node.child_by_field_name("path" if node.type == "import_spec" else "source")
        if source is not None:
            names = [self._text(one) for one in node.named_children if one.type in ("import_clause", "export_clause")]
            self._found.imports.append(Import(self._text(source).strip("'\"`"), names, line))

    def _call(self, node: Any) -> None:
        target = node.child_by_field_name(_CALLS[node.type])
        if target is None:
            return
        last = target.child_by_field_name(_LAST[target.type]) if target.type in _LAST else target
        name = self._text(last)
        first = node.named_children[1] if len(node.named_children) > 1 else None
        if self._language == "bash" and name in ("source", "."):
            self._found.imports.append(Import(self._text(first).strip("'\""), [], node.start_point[0] + 1))
            return
        arguments = node.child_by_field_name("arguments")
        given = arguments.named_children[0] if arguments is not None and arguments.named_children else None
        if (
            self._language in ("javascript", "typescript")
            and given is not None
            and given.type in ("string", "template_string")
        ):
            words = self._text(given).strip("'\"`")
            if name == "require" and target.type == "identifier":
                self._found.imports.append(Import(words, [], node.start_point[0] + 1))
                return
            if self._text(target).partition(".")[0] in _BLOCKS:
                self._enter(node, words[:200], True)
                return
        if len(name) < 200:
            self._use(name, last, "call")

    def _kind_above(self, steps: int) -> str:
        """Give the kind of the parent, or of what is so many steps above it."""
        above = self._above
        for _ in range(steps):
            above = above[1] if above is not None else None
        return "" if above is None else above[0].type

    def _names_a_definition(self, node: Any) -> bool:
        kind = self._kind_above(0)
        if kind in _CALLS or (kind in _LAST and self._kind_above(1) in _CALLS):
            return True  # what is called is noted with the call, and what it is taken from tells little
        if self._above is None or kind not in (*_DEFINES[self._language], "variable_declarator"):
            return False
        return bool(node == self._above[0].child_by_field_name("name"))

    def _use(self, name: str, node: Any, kind: str) -> None:
        within = ".".join(one for _, one, _ in self._around)
        self._found.uses.append(Use(name, node.start_point[0] + 1, within, kind, any(one[2] for one in self._around)))

    def _text(self, node: Any) -> str:
        return "" if node is None else self._data[node.start_byte : node.end_byte][:2000].decode("utf-8", "replace")
