"""What a command line names: what reading it gives, without the parser that reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

_LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


@dataclass(slots=True)
class Found:
    """What a text names. `unclear` says what cannot be known from it; `risk` is the worst of `why`."""

    programs: list[str] = field(default_factory=list[str])
    reads: list[str] = field(default_factory=list[str])
    writes: list[str] = field(default_factory=list[str])
    removes: list[str] = field(default_factory=list[str])
    hosts: list[str] = field(default_factory=list[str])
    unclear: list[str] = field(default_factory=list[str])
    why: list[str] = field(default_factory=list[str])
    risk: str = "LOW"
    whole: bool = True  # the grammar knows every part of it

    def worse(self, risk: str, why: str) -> None:
        """Raise the risk, and say why."""
        self.risk = max(self.risk, risk, key=_LEVELS.index)
        self.why.append(why)

    def tidy(self) -> None:
        """Name each thing once."""
        for name in ("programs", "reads", "writes", "removes", "hosts", "unclear", "why"):
            setattr(self, name, list(dict.fromkeys(getattr(self, name))))


def unread() -> Found:
    """Give what is known of a text that could not be read at all: that it is not harmless."""
    found = Found(whole=False)
    found.worse("HIGH", "reading it takes more than it may")
    return found
