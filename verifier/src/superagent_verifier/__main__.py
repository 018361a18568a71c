"""The command: `superagent-verify AUDIT --keys FILE`; says good or not, and where."""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from superagent_verifier.entries import Unreadable
from superagent_verifier.keys import BadKey, Keys
from superagent_verifier.report import KINDS, Report
from superagent_verifier.verify import verify

WHOLE, TAMPERED, UNREADABLE = 0, 1, 2
_UNREADABLE = (OSError, Unreadable, BadKey, UnicodeDecodeError, tarfile.TarError, zlib.error, EOFError)
_EPILOG = """\
exit codes:
  0  whole: nothing was changed, removed, moved, put in or cut off
  1  tampered with: each fault is told with its place
  2  nothing is said: arguments, keys or files cannot be read

AUDIT is what `audit.proof` exported, or a copy of the folder `audit`. Take the keys (`audit.keys`) from where you
noted them down, not from whoever gave you the log. Without --anchor nobody can tell that the newest checkpoints were
cut off together with the lines that they speak of.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the arguments name, print what was found, and give the exit code."""
    parser = argparse.ArgumentParser(
        prog="superagent-verify",
        description="Verify an audit log of Super-Agent, without Super-Agent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audit", type=Path, metavar="AUDIT", help="the export, or the folder of the log")
    parser.add_argument("--keys", type=Path, required=True, metavar="FILE", help="public keys, one a line")
    parser.add_argument("--anchor", type=Path, metavar="FILE", help="a checkpoint that was kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args(arguments)
    try:
        keys = Keys(asked.keys.read_text("utf-8").splitlines())
        report = verify(asked.audit, keys, asked.anchor.read_bytes() if asked.anchor else None)
    except _UNREADABLE as error:
        print(f"superagent-verify: {error}", file=sys.stderr)
        return UNREADABLE
    print(json.dumps(report.document(), indent=2) if asked.json else text(report))
    return WHOLE if report.ok else TAMPERED


def text(report: Report) -> str:
    """Give a report for people. What stands in it comes from the log, so it is shown in plain ASCII."""
    read = (
        f"{report.records} records in {report.lines} lines of {report.chains} chains, {report.checkpoints} checkpoints"
        f" (the newest is {report.newest_checkpoint})"
    )
    lines = [f"read: {read}"]
    if report.first_at is not None and report.last_at is not None:
        lines.append(f"from {_date(report.first_at)} to {_date(report.last_at)}")
    if report.unsigned:
        lines.append(f"the last {report.unsigned} lines are not signed yet: of them nothing is proven")
    for fault in report.faults:
        place = (
            (fault.chain, fault.file, f"line {fault.line}") if fault.chain else (fault.file, f"checkpoint {fault.line}")
        )
        at = " ".join(part for part in place if part)
        lines.append(f"FAULT {fault.kind}: {at}: {fault.what} ({KINDS[fault.kind]})")
    if report.fault_count > len(report.faults):
        lines.append(f"and {report.fault_count - len(report.faults)} faults more")
    anchored = ", and it holds the checkpoint kept elsewhere" if report.anchored else ""
    lines.append(
        f"WHOLE: nothing was rewritten{anchored}" if report.ok else f"TAMPERED WITH: {report.fault_count} faults"
    )
    return "\n".join(_plain(line) for line in lines)


def _plain(line: str) -> str:
    return "".join(one if " " <= one <= "~" else one.encode("unicode_escape").decode() for one in line)


def _date(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return str(at)


if __name__ == "__main__":
    sys.exit(main())
