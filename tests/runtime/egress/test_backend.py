"""The gate behind the real back end: launcher, tenant's user, native profile and filter as they ship."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from superagent.core.containment import Profile
from superagent.core.endpoints import HostRules
from superagent.core.principal import Secret
from superagent.runtime.egress.hookup import INSIDE
from superagent.runtime.egress.injection import Injection
from superagent.runtime.sandbox.backend import Bind, Start
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.root_tree import RootTrees
from tests import needs
from tests.promise import promise
from tests.runtime.egress.inside import WHOSE, outlook
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, ok, site

UID = 64_201
NUMBER = 9


@promise("1.3c")
async def test_a_command_in_the_shipped_sandbox_goes_out_by_name_with_a_credential_it_never_holds(
    tmp_path: Path,
) -> None:
    needs.program("bwrap", "bubblewrap")
    outside, root = Authority(tmp_path), os.geteuid() == 0
    names = Names({"api.test": ["127.0.0.1"]})

    def echo(asked: Asked) -> bytes:
        return ok("\n".join(asked.lines).encode())

    script = (
        "curl -sS https://api.test:$1/ ; echo ; curl -sS -o /dev/null -w '%{http_connect}' https://evil.test/ ; env"
    )
    with tempfile.TemporaryDirectory(prefix="trees-") as folder:
        Path(folder).chmod(0o755)
        launcher = Launcher(UID, 1)
        native = Native(
            launcher, RootTrees(Path(folder), (INSIDE,)), lambda machine, _: filter_for(machine, unix=False)
        )
        try:
            async with site(echo, outside.server("api.test")) as there, outlook(names, str(outside.file)) as view:
                injection = Injection.of(f"api.test:{there.port}", "X-Key", Secret("k3y-of-the-tenant"))
                async with view.egress.gate(HostRules.of("api.test"), WHOSE, injections=[injection]) as way:
                    reading, writing = os.pipe()
                    start = Start(
                        (*way.hookup.prefix(NUMBER), "sh", "-c", script, "sh", str(there.port)),
                        Profile("net"),
                        "tenant",
                        env=way.hookup.env,
                        cwd="/tmp",
                        user=UID if root else None,
                        binds=(Bind(str(way.hookup.folder), INSIDE),),
                        stdout=writing,
                        stderr=writing,
                        stdin=os.open("/dev/null", os.O_RDONLY),
                        fds={NUMBER: way.hookup.socket},
                    )
                    running = await native.start(start)
                    os.close(writing)
                    os.close(start.stdin)
                    await way.attach()
                    said = await asyncio.to_thread(_whole, reading)
                    await running.wait()
                    traffic = way.gate.traffic
        finally:
            await launcher.close()
    assert there.asked[0].header("x-key") == ["k3y-of-the-tenant"], said
    assert "GET / HTTP/1.1" in said
    assert "403" in said
    assert "k3y-of-the-tenant" not in said
    assert (traffic.connections, traffic.refused, traffic.opened) == (1, 1, {f"api.test:{there.port}"})


def _whole(reading: int) -> str:
    with os.fdopen(reading, "rb") as file:
        return file.read().decode()
