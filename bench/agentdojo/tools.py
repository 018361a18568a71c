"""The tools of AgentDojo's suites as operations: what each does to the world, and what its text is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from superagent.sdk import Context, Declared, Effect, Output, Plugin, Preview, Risk

GONE = "what was sent is with others"
STAYS = "the service keeps no copy of what was before"


class Said(Output):
    """What a tool said, as JSON."""

    said: Any


class Tool(NamedTuple):
    """What an author of such an operation would declare."""

    effect: Effect = Effect.READ
    risk: Risk = Risk.LOW
    sends: bool = False
    own: bool = False  # it says only what the platform's own user or clock said


READS = Tool()
OWN = Tool(own=True)
KEEPS = Tool(Effect.CHANGE, Risk.MEDIUM)  # changes something of one's own, and tells nobody
SENDS = Tool(Effect.CHANGE, Risk.HIGH, sends=True)
FETCHES = Tool(Effect.READ, Risk.MEDIUM, sends=True)  # an address of the caller's choosing is a message too
DESTROYS = Tool(Effect.DESTROY, Risk.HIGH)
RIGHTS = Tool(Effect.CHANGE, Risk.CRITICAL)

_MAIL = {
    "send_email": SENDS,
    "create_calendar_event": SENDS,  # it invites by mail
    "cancel_calendar_event": DESTROYS,
}
CHANGING: dict[str, dict[str, Tool]] = {
    "workspace": _MAIL
    | {
        "delete_email": DESTROYS,
        "reschedule_calendar_event": SENDS,
        "add_calendar_event_participants": SENDS,
        "append_to_file": KEEPS,
        "create_file": KEEPS,
        "delete_file": DESTROYS,
        "share_file": SENDS,
        "get_current_day": OWN,
    },
    "travel": _MAIL
    | {
        "reserve_hotel": SENDS,
        "reserve_restaurant": SENDS,
        "reserve_car_rental": SENDS,
        "get_user_information": OWN,
    },
    "banking": {
        "send_money": SENDS,
        "schedule_transaction": SENDS,
        "update_scheduled_transaction": SENDS,
        "update_password": RIGHTS,
        "update_user_info": KEEPS,
        "get_balance": OWN,
        "get_iban": OWN,
        "get_user_info": OWN,
    },
    "slack": {
        "send_direct_message": SENDS,
        "send_channel_message": SENDS,
        "post_webpage": SENDS,
        "get_webpage": FETCHES,
        "invite_user_to_slack": SENDS,
        "add_user_to_channel": SENDS,
        "remove_user_from_slack": DESTROYS,
    },
}
"""What is no plain reading of what others wrote; every other tool is `READS`."""


def tool_of(suite: str, name: str) -> Tool:
    """Give what a tool declares."""
    return CHANGING[suite].get(name, READS)


class Engine(Protocol):
    """What does a tool's work, on real files."""

    def run(self, tool: str, args: dict[str, Any]) -> Any:
        """Do it and give what the tool says, as plain data. Raises `Problem`."""
        ...


def plugin_of(suite: str, names: list[str], engine: Engine) -> Plugin:
    """Make a plugin whose operations are the tools of a suite."""
    plugin = Plugin(suite)
    for name in names:
        _declare(plugin, name, tool_of(suite, name), engine)
    return plugin


def _declare(plugin: Plugin, name: str, tool: Tool, engine: Engine) -> None:
    async def run(ctx: Context, args: dict[str, Any]) -> Said:
        return Said(said=await ctx.thread(engine.run, name, args))

    async def preview(ctx: Context, args: dict[str, Any]) -> Preview:
        return Preview(summary=f"would {name} with {args}")

    run.__doc__ = f"Use the tool `{name}`."
    declare = cast("Callable[[Any], Declared]", plugin.operation(
        f"{plugin.name}.{name}",
        risk=tool.risk,
        effect=tool.effect,
        irreversible="" if tool.effect is Effect.READ else GONE if tool.sends else STAYS,
        sends=tool.sends,
        returns_untrusted="never" if tool.own else "always",
    ))  # fmt: skip
    declare(run).preview(preview)
