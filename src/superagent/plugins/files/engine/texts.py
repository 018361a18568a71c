"""Bytes as text and back without loss: byte order marks, UTF-16, old code pages, newline styles; or it is binary."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from .places import Unfit

SAMPLE = 64 * 1024
# the longer marks first: UTF-32's begins with UTF-16's
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How text is written: the codec's name and the byte order mark before it."""

    name: str
    mark: bytes = b""

    def decode(self, data: bytes) -> str:
        """Give the text without its mark; raises `UnicodeDecodeError`."""
        return data.removeprefix(self.mark).decode(self.name)

    def encode(self, text: str) -> bytes:
        """Give the bytes with the mark; raises `Unfit` for what this encoding cannot write."""
        try:
            return self.mark + text.encode(self.name)
        except UnicodeEncodeError as error:
            bad = text[error.start : error.start + 1]
            raise Unfit(f"`{self.name}` cannot write {bad!r}", "name another `encoding`, such as utf-8") from error


UTF8 = Encoding("utf-8")
# made for host names: the time they take grows with the square of a text's length, so a file of them takes for ever
_FOR_NAMES = frozenset({"idna", "punycode"})


def named(name: str) -> Encoding:
    """Give the encoding of a name; raises `Unfit` for one that does not exist or is no text encoding."""
    try:
        found = codecs.lookup(name)
        if found.name in _FOR_NAMES:
            raise LookupError(found.name)
        "".encode(found.name)
    except (LookupError, ValueError) as error:
        raise Unfit(f"`{name[:40]}` is no text encoding", "use auto, bytes, or a name such as utf-8") from error
    if found.name == "utf-8-sig":
        return Encoding("utf-8", codecs.BOM_UTF8)
    return Encoding(found.name)


def detect(sample: bytes, whole: bool = True) -> Encoding | None:
    """Tell how the beginning of a file is encoded; None for what is not text.

    `whole` says whether the sample is all there is, or may end within a character.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return Encoding(name, mark) if _decodes(sample[len(mark) :], name, whole) else None
    if b"\0" in sample:
        # UTF-16 without a mark: in most scripts' text one byte of each pair is nearly always zero
        for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
            if zeros.count(0) * 10 > len(zeros) * 6 and sample.count(0) == zeros.count(0):
                return (
                    Encoding(name)
                    if _decodes(sample, name, whole) and _is_plain(sample.decode(name, "ignore"))
                    else None
                )
        return None
    if _decodes(sample, "utf-8", whole):
        return UTF8
    name = _guess(sample[:SAMPLE])
    return Encoding(name) if name is not None and _decodes(sample, name, whole) else None


def decode(data: bytes) -> tuple[str, Encoding] | None:
    """Give a whole file as text with its encoding; None when it is not text that can be written back identically."""
    chosen = detect(data)
    if chosen is None:
        return None
    text = chosen.decode(data)
    return (text, chosen) if chosen.mark + text.encode(chosen.name, "ignore") == data else None


def newline_of(text: str) -> str:
    """Give the newline style: `lf`, `crlf`, `cr`, `mixed`, or `none` when there is a single line."""
    crlf = text.count("\r\n")
    counts = {"crlf": crlf, "lf": text.count("\n") - crlf, "cr": text.count("\r") - crlf}
    used = [style for style, count in counts.items() if count]
    return used[0] if len(used) == 1 else "mixed" if used else "none"


def _guess(sample: bytes) -> str | None:
    """Guess an old code page; between equally likely ones, the one that is by far the most common."""
    from charset_normalizer import from_bytes  # slow to load, and most text is UTF-8

    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return None
    likely = [one for one in matches if (one.chaos, one.coherence) == (best.chaos, best.coherence)]
    names = {name for one in likely for name in (one.encoding, *one.could_be_from_charset)}
    return "cp1252" if "cp1252" in names else best.encoding


def _is_plain(text: str) -> bool:
    return not any(char < " " and char not in "\t\n\r\f" for char in text)


def _decodes(data: bytes, name: str, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(data, whole)
    except UnicodeDecodeError:
        return False
    return True
