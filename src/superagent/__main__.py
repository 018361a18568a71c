"""The command line's entry: it hands over how an installation is reached, and loads nothing before that is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from superagent.sparing import leave_the_rest, look_seldom
from superagent.surfaces.cli.launch import Installation, Launch
from superagent.surfaces.cli.main import run


def main() -> None:
    """Run the command line and end the process with its exit code."""
    look_seldom()
    code = run(sys.argv[1:], LAUNCH)
    leave_the_rest()
    sys.exit(code)


def _data_folder(flag: str) -> Path:
    from superagent.settings import data_folder

    return data_folder(flag)


def _open_installation(data: Path) -> AbstractAsyncContextManager[Installation]:
    from superagent.app import open_installation
    from superagent.settings import load

    return open_installation(load(data), takes_up=False)


def _serve(data: Path, flags: Mapping[str, object], say: Callable[[str], None]) -> int:
    from superagent.asgi import serve

    return serve(data, flags, say)


def _mcp(data: Path, server: str, key: Any, toolsets: str) -> None:
    from superagent.surfaces.mcp.stdio import speak

    def serve_while(*given: Any) -> None:
        from superagent.asgi import serve_while

        serve_while(*given)

    speak(data, server, key, toolsets, serve_while)


LAUNCH = Launch(_data_folder, _open_installation, _serve, _mcp)
"""How this installation's command line reaches what lies behind it."""

if __name__ == "__main__":
    main()
