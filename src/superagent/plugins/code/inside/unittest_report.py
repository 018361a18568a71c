"""Run by the Python of a project, inside the sandbox: its unittest tests, reported as JUnit XML.

Arguments: the file to write the report to, the project's folder, then those of `python -m unittest`.
"""

from __future__ import annotations

import inspect
import sys
import time
import unittest
from types import TracebackType
from typing import Union
from xml.sax.saxutils import escape, quoteattr

Err = Union["tuple[type[BaseException], BaseException, TracebackType]", "tuple[None, None, None]"]


class Report(unittest.TestResult):
    """Note each test as it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[str] = []
        self._began = 0.0
        self._row = ""

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's own name
        """Note when a test begins."""
        super().startTest(test)
        self._began, self._row = time.monotonic(), ""

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Write its row."""
        super().stopTest(test)
        self._add(test, time.monotonic() - self._began, self._row)

    def _add(self, test: object, seconds: float, row: str) -> None:
        file, line = "", 1
        try:
            method = inspect.unwrap(getattr(test, getattr(test, "_testMethodName", "")))
            file, line = inspect.getsourcefile(method) or "", inspect.getsourcelines(method)[1]
        except (AttributeError, TypeError, OSError, ValueError):
            line = 1  # it was made by other code, and has no place of its own
        name = test.id() if isinstance(test, unittest.TestCase) else str(test)
        head = f"<testcase name={quoteattr(name)} file={quoteattr(file)} line='{line - 1}' time='{seconds:.6f}'>"
        self.rows.append(head + row + "</testcase>")

    def _fault(self, test: object, kind: str, text: str) -> None:
        last = text.strip().rpartition("\n")[2]
        row = f"<{kind} message={quoteattr(last)}>{escape(text)}</{kind}>"
        if isinstance(test, unittest.TestCase):
            self._row = self._row or row
        else:  # something around tests: a class or a module could not be set up
            self._add(test, 0.0, row)

    def addError(self, test: unittest.TestCase, err: Err) -> None:  # noqa: N802
        """Note an error."""
        super().addError(test, err)
        self._fault(test, "error", self.errors[-1][1])

    def addFailure(self, test: unittest.TestCase, err: Err) -> None:  # noqa: N802
        """Note a failure."""
        super().addFailure(test, err)
        self._fault(test, "failure", self.failures[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        """Note a test that was left out."""
        super().addSkip(test, reason)
        self._row = f"<skipped message={quoteattr(reason)}/>"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Note a test that should have failed."""
        super().addUnexpectedSuccess(test)
        self._fault(test, "failure", "it was expected to fail and did not")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Err | None) -> None:  # noqa: N802
        """Note the first part of a test that failed."""
        super().addSubTest(test, subtest, err)
        if err is not None and err[0] is not None:
            failed = issubclass(err[0], test.failureException)
            found = (self.failures if failed else self.errors)[-1][1]
            self._fault(test, "failure" if failed else "error", f"{subtest}\n{found}")


def main() -> int:
    """Run them and write the report."""
    report, folder, *rest = sys.argv[1:]
    sys.path[0] = folder
    program = unittest.main(module=None, argv=["unittest", *rest], testRunner=_Runner(), exit=False)
    result = program.result
    rows = result.rows if isinstance(result, Report) else []
    with open(report, "w", encoding="utf-8", errors="replace") as file:
        file.write("<testsuites>" + "".join("".join(one for one in row if one >= " " or one in "\n\t") for row in rows))
        file.write("</testsuites>")
    return 0 if result.wasSuccessful() else 1


class _Runner:
    def run(self, test: unittest.TestSuite | unittest.TestCase) -> Report:
        result = Report()
        test.run(result)
        return result


if __name__ == "__main__":
    sys.exit(main())
