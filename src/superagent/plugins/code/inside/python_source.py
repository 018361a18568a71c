"""Python, read by the parser of the very Python that runs this. Standard library only."""

from __future__ import annotations

import ast
import warnings

from .outline import Definition, Import, Outline, Use

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def read(data: bytes, path: str) -> Outline:
    """Read one file."""
    found = Outline()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data, path)
        _Reader(found, _is_test_file(path)).visit(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as bad:
        line = getattr(bad, "lineno", None)
        found.fault = f"line {line}: {getattr(bad, 'msg', bad)}" if line else f"{type(bad).__name__}: {bad}"
    return found


def _is_test_file(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test_") or name.endswith("_test.py")


class _Reader(ast.NodeVisitor):
    def __init__(self, found: Outline, tests: bool) -> None:
        self._found = found
        self._tests = tests
        self._around: list[str] = []
        self._kinds: list[str] = []
        self._test = False
        self._from: dict[str, str] = {}  # a name here, and the module (with the name in it) that it comes from

    def visit_Import(self, node: ast.Import) -> None:
        for one in node.names:
            self._found.imports.append(Import(one.name, [one.asname] if one.asname else [], node.lineno))
            self._from[one.asname or one.name.partition(".")[0]] = (
                one.name if one.asname else one.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self._found.imports.append(Import(module, [one.name for one in node.names], node.lineno))
        for one in node.names:
            self._from[one.asname or one.name] = f"{module}.{one.name}" if module.strip(".") else f"{module}{one.name}"
            self._use(one.name, node.lineno, "import", module)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node, "async " if isinstance(node, ast.AsyncFunctionDef) else "")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node, "async ")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> None:
        kind = "method" if self._kinds and self._kinds[-1] == "class" else "function"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        self._defined(node, kind, f"{prefix}def {node.name}({ast.unparse(node.args)}){returns}")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = ", ".join(ast.unparse(one) for one in node.bases)
        self._defined(node, "class", f"class {node.name}({bases})" if bases else f"class {node.name}")

    def _defined(self, node: _Scope, kind: str, signature: str) -> None:
        for one in node.decorator_list:
            self.visit(one)
        doc = (ast.get_docstring(node) or "").partition("\n")[0]
        name = ".".join([*self._around, node.name])
        test = self._tests and kind != "class" and node.name.startswith("test")
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        self._found.definitions.append(
            Definition(name, kind, first, node.end_lineno or node.lineno, signature[:300], doc[:300], test)
        )
        outer, self._test = self._test, self._test or test
        self._around.append(node.name)
        self._kinds.append(kind)
        decorators, node.decorator_list = node.decorator_list, []
        self.generic_visit(node)
        node.decorator_list = decorators
        self._around.pop()
        self._kinds.pop()
        self._test = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        for one in node.targets:
            self._variable(one, node)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._variable(node.target, node)
        self.generic_visit(node)

    def _variable(self, target: ast.expr, node: ast.stmt) -> None:
        if isinstance(target, ast.Name) and (not self._kinds or self._kinds[-1] == "class"):
            name = ".".join([*self._around, target.id])
            self._found.definitions.append(Definition(name, "variable", node.lineno, node.end_lineno or node.lineno))

    def visit_Call(self, node: ast.Call) -> None:
        name, module = self._named(node.func)
        if name:
            self._use(name, node.func.end_lineno or node.lineno, "call", module)
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        for one in [*node.args, *node.keywords]:
            self.visit(one)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node.id, node.lineno, "name", self._named(node)[1])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._use(node.attr, node.end_lineno or node.lineno, "name", self._named(node)[1])
        self.visit(node.value)

    def _named(self, node: ast.expr) -> tuple[str, str]:
        """Give the last name of an expression, and the module that imports lead to."""
        if isinstance(node, ast.Name):
            return node.id, self._from.get(node.id, "").rpartition(".")[0] if node.id in self._from else ""
        if isinstance(node, ast.Attribute):
            parts: list[str] = []
            at: ast.expr = node.value
            while isinstance(at, ast.Attribute):
                parts.append(at.attr)
                at = at.value
            if isinstance(at, ast.Name) and at.id in self._from:
                return node.attr, ".".join([self._from[at.id], *reversed(parts)])
            return node.attr, ""
        return "", ""

    def _use(self, name: str, line: int, kind: str, module: str) -> None:
        self._found.uses.append(Use(name, line, ".".join(self._around), kind, self._test, module))
