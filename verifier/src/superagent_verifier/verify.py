"""Verify: read a whole audit log once, notes first, and report."""

from __future__ import annotations

from pathlib import Path

from superagent_verifier.chains import Chain
from superagent_verifier.checkpoints import Checkpoints
from superagent_verifier.entries import NOTES, entries
from superagent_verifier.keys import Keys
from superagent_verifier.report import Report


def verify(place: Path, keys: Keys, anchor: bytes | None = None) -> Report:
    """Check an export, or the folder of a log, against public keys and, if given, a checkpoint kept elsewhere.

    Raises `Unreadable` for what is no log and `OSError` for what cannot be read.
    """
    report = Report()
    notes = Checkpoints(keys, report, anchor)
    chain, name, goes_on, seen = None, NOTES, False, set[str]()
    for entry in entries(place):
        if not entry.folder:
            report.fault("foreign", "it does not belong into a log, or not at this place", file=entry.name[:300])
            continue
        if entry.folder == NOTES:
            notes.read(entry)
            continue
        if entry.folder != name:
            if chain is None:
                notes.end(exported=not place.is_dir())
            else:
                chain.end(goes_on=goes_on)
            name, goes_on = entry.folder, entry.goes_on
            chain = Chain(report, name, notes.claims.get(name, []), notes.signed(name))
            seen.add(name)
        assert chain
        chain.read(entry)
    if chain is None:
        notes.end(exported=not place.is_dir())
    else:
        chain.end(goes_on=goes_on)
    for gone in sorted(notes.named - seen):
        report.fault("chain-missing", f"the chain of {notes.signed(gone)} lines is gone", chain=gone, line=1)
    return report
