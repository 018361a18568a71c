"""The connection type `a2a`: another agent, how our secret is shown to it, and the card that a person pinned."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from superagent.features.connections.http import HttpOptions, answered
from superagent.features.connections.http import shown as shown_by_header
from superagent.sdk import Connected, Plugin, Secret, Shown


class AgentOptions(HttpOptions):
    """What a person saw of the agent by `agents.card`, and believes: its card's digest, and its signer where they want.

    Nothing is delegated to an agent without a `card`, or whose card is another one now.
    """

    card: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    signer: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]{43})?$")] = ""


def shown(connected: Connected, secret: Secret) -> Shown:
    """Give the header that shows a secret, as the type `http` does. Raises `Conflict`."""
    known = {name: one for name, one in connected.options.items() if name in HttpOptions.model_fields}
    return shown_by_header(replace(connected, options=known), secret)


def provide(plugin: Plugin) -> None:
    """Let a plugin provide the type."""
    plugin.connection("a2a", schemes=("https", "http"), options=AgentOptions, shows=shown)(answered)
