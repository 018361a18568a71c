"""Neutral texts: what came from outside, so that whoever reads it is not fooled by what it does to the page."""

from __future__ import annotations

import re

# C0 and C1 controls (ECMA-48), which move the cursor or change the terminal; the marks that turn the direction of text
# around (Unicode UAX 9) or separate lines; halves of surrogate pairs, which are bytes that were no text
_ACTS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
# what nobody sees: all that is ignored where it cannot be drawn (Default_Ignorable_Code_Point of Unicode, among it the
# joiners, variation selectors and tags), the other format characters without a shape, and the blank Braille cell
_UNSEEN = (
    r"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
HIDDEN = re.compile(f"[{_ACTS}{_UNSEEN}]")
_LINE = re.compile(f"[{_ACTS}{_UNSEEN}\t\n]")

# where joiners and selectors belong to what is written: between the letters of scripts that need them (Unicode 23.2:
# Arabic, Syriac, those of India, Myanmar, Khmer, Mongolian), and in emoji (UTS 51)
_JOINED = r"\u0620-\u074f\u0750-\u077f\u08a0-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff\u1820-\u18af\ufb50-\ufdff"
_EMOJI = r"\u203c-\u205f\u2070-\u27ff\u2801-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_NEEDED = re.compile(
    rf"(?<=[{_JOINED}])[\u200c\u200d](?=[{_JOINED}])"
    rf"|(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"
    rf"|(?<=[{_EMOJI}#*0-9\u00a9\u00ae])[\ufe0e\ufe0f]"
)


def neutral(text: str) -> str:
    r"""Give text that came from outside so that it can only be read: whatever acts on a terminal becomes `\x1b`.

    What nobody sees is shown too, but for what Persian or a family of emoji cannot be written without.
    """
    return HIDDEN.sub(_shown_unless_needed, text)


def laid_open(text: str) -> str:
    """Do the same without exception: for whoever decides by what they read, two texts that differ look different."""
    return HIDDEN.sub(_shown, text)


def neutral_line(text: str) -> str:
    r"""Do that for a name: line feeds and tabs become `\n` and `\t` too, so that it cannot pretend to be two."""
    return _LINE.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _shown_unless_needed(found: re.Match[str]) -> str:
    return found[0] if _NEEDED.match(found.string, found.start()) else _shown(found)
