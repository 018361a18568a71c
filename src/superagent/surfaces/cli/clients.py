"""Clients: the programs of agents that `superagent connect` knows, and how the configuration of each names a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Client:
    """One program: its file for a user (in the home folder) and for a project (in it, empty: none).

    `at` is where servers stand in it; `extra` is what an entry says besides its command.
    """

    title: str
    user: str
    project: str = ""
    at: str = "mcpServers"
    kind: Literal["json", "toml"] = "json"
    extra: Mapping[str, Any] | None = None


CLIENTS: dict[str, Client] = {
    "claude": Client("Claude Desktop", ".config/Claude/claude_desktop_config.json"),
    "claude-code": Client("Claude Code", ".claude.json", ".mcp.json", extra={"type": "stdio"}),
    "codex": Client("Codex CLI", ".codex/config.toml", ".codex/config.toml", "mcp_servers", "toml"),
    "cursor": Client("Cursor", ".cursor/mcp.json", ".cursor/mcp.json"),
    "gemini": Client("Gemini CLI", ".gemini/settings.json", ".gemini/settings.json"),
    "vscode": Client(
        "Visual Studio Code", ".config/Code/User/mcp.json", ".vscode/mcp.json", "servers", extra={"type": "stdio"}
    ),
    "windsurf": Client("Windsurf", ".codeium/windsurf/mcp_config.json"),
    "zed": Client("Zed", ".config/zed/settings.json", ".zed/settings.json", "context_servers"),
}
