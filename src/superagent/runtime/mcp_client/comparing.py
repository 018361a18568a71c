"""Comparing: what a server offers now against what was pinned when a person looked; pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from superagent.runtime.mcp_client.records import Server, Tool
from superagent.runtime.mcp_client.session import Offered
from superagent.runtime.mcp_client.tools import pinned

LATER = "it came after a person looked"
OTHERWISE = "it describes itself otherwise than when a person looked"
AWAY = "its server has it no more"
MOST_KEPT = 400
"""How many tools of one server are remembered, also those that it once had."""


def compared(server: Server, offered: list[Offered]) -> tuple[Server, list[Tool]]:
    """Give a server with what it offers now, and the tools that are not what they were; none where all is the same.

    A tool that describes itself otherwise stays disabled until a person looked, also if it changes back.
    """
    present = {one.name: one for one in offered}
    tools = [_again(one, present.get(one.name)) for one in server.tools]
    known = {one.name for one in tools}
    new = [one for one in pinned(server.name, offered) if one.name not in known]
    names = {one.operation for one in tools}
    for one in new[: max(0, MOST_KEPT - len(tools))]:
        unfit = one.state == "unfit" or one.operation in names
        tools.append(replace(one, state="unfit" if unfit else "changed", why=one.why or LATER))
    before = {one.name: one for one in server.tools}
    changed = [one for one in tools if before.get(one.name) != one]
    return (replace(server, tools=tools, turn=server.turn + 1) if changed else server), changed


def _again(tool: Tool, offered: Offered | None) -> Tool:
    if offered is None:
        return tool if tool.state == "gone" else replace(tool, state="gone", why=AWAY)
    if offered.digest != tool.digest:
        # the same words as at the last look are no news
        return tool if tool.now == offered.digest else replace(
            tool, state="changed", why=OTHERWISE, now=offered.digest, offered=offered.said
        )  # fmt: skip
    if tool.state == "gone" and not tool.now:  # it was away, and is what it was
        return replace(tool, state="assigned" if tool.effect else "unknown", why="")
    return tool if not tool.offered else replace(tool, now=offered.digest, offered={})


def assigned(tool: Tool, digest: str, effect: str, risk: str, summary: str, by: str, asks_first: bool) -> Tool:
    """Give a tool with a person's word about what its server said when it had this digest."""
    said = tool.offered if tool.offered and digest == tool.now else tool.said
    return replace(
        tool, digest=digest, said=said, state="assigned", why="", effect=effect, risk=risk, summary=summary, by=by,
        now="", offered={}, asks_first=asks_first,
    )  # fmt: skip


def callable_now(tool: Tool) -> bool:
    """Tell whether a tool may be called as it stands."""
    return tool.state in ("unknown", "assigned")


def told(tools: Iterable[Tool]) -> str:
    """Say in words what stands against tools of a server, empty for nothing."""
    found = [f"{one.operation or 'a tool'}: {one.why}" for one in tools if one.why]
    return "; ".join(found)[:500]
