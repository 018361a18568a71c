"""The entry in the sandbox: run as a file by a bare interpreter, with the folders to import from as arguments.

`<plugin> <module> <plugin's folder or empty> <folder to import from>…`; standard input and output are the line to the
server, so they are taken away before anything of the plugin runs: what it prints goes to standard error.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Load one plugin and serve it until the server is gone."""
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    name, module, folder, *folders = arguments
    sys.path[:] = [*(one for one in sys.path if one != os.path.dirname(os.path.abspath(__file__))), *folders]

    import asyncio
    import traceback

    from superagent.hosted.declaring import declare
    from superagent.hosted.host import Host
    from superagent.hosted.importing import import_plugin

    host = Host(os.fdopen(reading, "rb"), writing)
    try:
        declaration, operations = declare(import_plugin(name, module, folder))
    except BaseException:  # whatever somebody else's code raises, also to leave
        host.refuse(traceback.format_exc())
        return
    asyncio.run(host.serve(declaration, operations))


if __name__ == "__main__":
    main(sys.argv[1:])
