"""A server process of its own that has the probes, among them one that breaks: `python -m … DATA_FOLDER`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from superagent import asgi
from superagent.app import open_installation
from tests.surfaces.http.probe import probe


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    setattr(asgi, "open_installation", functools.partial(open_installation, extra=(probe,)))  # noqa: B010
    sys.exit(asgi.serve(Path(sys.argv[1]), {"server.port": 0}, say))
