"""Play the film (`make film`): the whole story with real parts; writes its pictures and its transcript."""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from pathlib import Path

from film.parts import lacking
from film.reel import Reel


def main() -> int:
    """Play it, or say what is missing."""
    parser = argparse.ArgumentParser(prog="make film", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/film"), metavar="FOLDER", help="where it is written")
    parser.add_argument("--quiet", action="store_true", help="say only where it lies")
    asked = parser.parse_args()
    if missing := lacking():
        print("the film cannot be played here; there is no", file=sys.stderr)
        for one in missing:
            print(f"  - {one}", file=sys.stderr)
        return 1
    from film.story import play  # what it is played with is known to be here only now

    began = time.monotonic()
    reel = Reel(asked.out, echo=not asked.quiet)
    with tempfile.TemporaryDirectory(prefix="film-") as folder:
        play(reel, Path(folder), _free_port())
    print(f"{reel.write()}: the film took {time.monotonic() - began:.0f} s")
    return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
