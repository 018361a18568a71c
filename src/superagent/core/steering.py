"""Steering: the paths that make other programs run what they say, or that agents later take for orders.

One list, with one owner. Grants speak of it as `{steering}`: by a built-in one, whatever an agent changes there needs a
person first (ADR 72). What a command did there stays in its view until somebody names it. Code that people run because
they want to (a script, a test, a `Makefile`) is not on it: that is what agents are asked to write.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from superagent.core.resources import beneath

PLACEHOLDER = "{steering}"
SAID = "paths that make other programs run what they say, or that agents take for orders"

# Each at any depth, with all beneath it. `*` stands at the beginning of a name alone, `**` in the middle for any names.
PATHS = """
.git/**/hooks .git/**/config .git/**/config.worktree .git/**/rebase-merge .git/info/attributes .gitmodules .gitconfig
.config/git .husky .githooks .pre-commit-config.yaml .pre-commit-config.yml lefthook.yml .lefthook.yml lefthook.yaml
.lefthook.yaml .envrc .direnv mise.toml .mise.toml

.vscode .vscode-server .vscodium *.code-workspace .idea .fleet .zed .devcontainer .devcontainer.json .theia .vs .run
.helix .vim .lvimrc .rules .vimrc .nvimrc .exrc .nvim.lua .dir-locals.el .emacs .emacs.d .config/nvim .config/code
.gdbinit .lldbinit

.mcp.json mcp.json mcp_config.json .mcp .cursor .cursorrules .claude .claude.json .codex .gemini .qwen .windsurf
.windsurfrules .codeium .clinerules .cline .roo .roomodes .kilocode .continue .aider.conf.yml .amazonq .kiro .junie
.augment .goose .goosehints .opencode opencode.json opencode.jsonc .crush.json .agent .agents .trae .zencoder
agents.md agents.override.md agent.md claude.md claude.local.md gemini.md qwen.md crush.md warp.md
claude_desktop_config.json .github/copilot-instructions.md .github/instructions .github/prompts .github/chatmodes
.github/agents .github/skills

.github/workflows .github/actions .github/hooks .gitlab-ci.yml .gitlab .circleci .forgejo/workflows .forgejo/actions
.gitea/workflows .gitea/actions .buildkite .travis.yml .woodpecker .woodpecker.yml .woodpecker.yaml .drone.yml
azure-pipelines.yml azure-pipelines.yaml bitbucket-pipelines.yml jenkinsfile

.bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc
.mkshrc .cshrc .tcshrc .login .logout .inputrc .config/fish .xprofile .xinitrc .xsession .xsessionrc .xsessionrc.d
.pam_environment .config/environment.d .config/systemd .config/autostart .local/bin .local/share/applications
.local/share/systemd library/launchagents .ssh .gnupg .curlrc .wgetrc .netrc .tmux.conf .pdbrc .irbrc .pryrc .ipython
.jupyter .psqlrc .sqliterc .my.cnf .docker .kube .aws .azure .terraformrc .mvn .bundle/config .npmrc .yarnrc
.yarnrc.yml .pypirc .config/pip .cargo/config .cargo/config.toml

superagent.toml
""".split()  # noqa: SIM905 - as many lines of quotes and commas tell less

_SPLIT = [tuple(one.split("/")) for one in PATHS]
_ENDINGS = tuple(one[0].removeprefix("*") for one in _SPLIT if one[0].startswith("*"))
_ALONE = frozenset(one[0] for one in _SPLIT if len(one) == 1)
_LONGER = [one for one in _SPLIT if len(one) > 1 and one[1] != "**"]
_ANYWHERE = [(one[0], one[2:]) for one in _SPLIT if one[1:2] == ("**",)]
_FIRST = frozenset(one[0] for one in _SPLIT if len(one) > 1)


def steers(path: str, *, folder: bool = False) -> bool:
    """Tell whether a path is one of these or lies beneath one.

    What is named `.git` counts as well unless it is known to be a `folder`: as a file or link it leads git to a
    configuration elsewhere, and what is put there as a whole brings one. Of hooks, no program runs a `*.sample`.
    """
    text = _folded(path)
    parts = text.split("/")
    if not _ALONE.isdisjoint(parts):
        return True
    for ending in _ENDINGS:
        if ending in text and any(part.endswith(ending) for part in parts):
            return True
    if _FIRST.isdisjoint(parts):  # nearly always
        return False
    if parts[-1] == ".git" and not folder:
        return True
    if any(one[0] in parts and _follow(parts, 0, one) for one in _LONGER):
        return True
    if parts[-1].endswith(".sample") and parts[-2:-1] == ["hooks"]:
        parts = parts[:-2]
    return any(first in parts and _follow(parts, parts.index(first) + 1, rest) for first, rest in _ANYWHERE)


def _follow(parts: list[str], begin: int, wanted: tuple[str, ...]) -> bool:
    """Tell whether these names stand somewhere behind a place: once through, however often the first one occurs."""
    size = len(wanted)
    return any(
        part == wanted[0] and tuple(parts[at : at + size]) == wanted for at, part in enumerate(parts[begin:], begin)
    )


def _folded(path: str) -> str:
    """Give the one spelling of what some filesystem takes for the same name, for none of them may be a way around.

    Many fold case. Some leave out what is not seen (CVE-2014-9390), or dots and spaces at the end of a name.
    """
    if not path.isascii():
        seen = (char for char in unicodedata.normalize("NFKC", path) if unicodedata.category(char) != "Cf")
        path = "".join(seen).casefold()
    path = path.lower().rstrip("/")
    if "./" in path or " /" in path or path.endswith((".", " ")):
        path = "/".join(part.rstrip(". ") for part in path.split("/"))
    return path


class SteeringPaths:
    """What `{steering}` covers in a grant: a pattern like any other, seen from the folders in which its caller works.

    So a workspace that lies in a folder `.claude` itself is one like all others.
    """

    __slots__ = ("_homes",)

    anchor = root = "/"
    tree = False

    def __init__(self, homes: Iterable[str]) -> None:
        self._homes = tuple(sorted((one for one in homes if one and one != "/"), key=len, reverse=True))

    def match(self, path: str) -> bool:
        """Tell whether a canonical path fits; one that ends in a slash is known to be a folder."""
        inner = next((path[len(home) :] for home in self._homes if beneath(path.rstrip("/"), home)), path)
        return steers(inner, folder=path.endswith("/"))
