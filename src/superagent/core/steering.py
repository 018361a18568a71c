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

# Each at any depth, with all beneath it. `*` is any one name, or at the beginning of one any text; `**` any names.
PATHS = """
.git/hooks .git/config .git/config.worktree .git/commondir .git/info/attributes .git/rebase-merge
.git/worktrees/*/hooks .git/worktrees/*/config .git/worktrees/*/config.worktree .git/worktrees/*/commondir
.git/worktrees/*/rebase-merge .git/modules/**/hooks .git/modules/**/config .git/modules/**/config.worktree
.git/modules/**/commondir .git/modules/**/info/attributes .git/modules/**/rebase-merge .gitmodules .gitconfig
.config/git .husky .githooks .pre-commit-config.yaml .pre-commit-config.yml lefthook.yml .lefthook.yml lefthook.yaml
.lefthook.yaml .overcommit.yml .simple-git-hooks.json .envrc .direnv mise.toml .mise.toml mise.local.toml
.mise.local.toml .mise .direnvrc .config/direnv .config/mise .hg/hgrc .hgrc .config/hg .jj/repo/config.toml
.jjconfig.toml .config/jj .subversion .bzr/branch/branch.conf .bazaar .config/breezy

.vscode .vscode-server .vscodium *.code-workspace .idea .fleet .zed .devcontainer .devcontainer.json .theia .vs .run
.vimrc .vim .lvimrc .nvimrc .exrc .nvim.lua .dir-locals.el .dir-locals-2.el .emacs .emacs.d .config/emacs .config/nvim
.config/code .config/vscodium .config/zed .config/helix .helix .gitpod.yml .replit .idx .gdbinit .lldbinit .pdbrc
.rprofile .renviron .pythonrc .ipython .jupyter .irbrc .pryrc .iex.exs .ghci .erlang .tmux.conf .config/tmux .screenrc
.wezterm.lua .config/wezterm .config/kitty .config/kak

.mcp.json mcp.json mcp_config.json .mcp .cursor .cursorrules .claude .claude.json .codex .gemini .qwen .windsurf
.windsurfrules .codeium .clinerules .cline .roo .roomodes .kilocode .continue .aider.conf.yml .amazonq .kiro .junie
.augment .augment-guidelines .aiassistant .factory .openhands .warp .rules .qoder .copilot .config/goose
.config/opencode .config/amp claude_desktop_config.json .goose .goosehints .opencode opencode.json opencode.jsonc
.crush.json .agent .agents .trae .zencoder agents.md agents.override.md agent.md claude.md claude.local.md gemini.md
qwen.md crush.md warp.md .github/copilot-instructions.md .github/instructions .github/prompts .github/chatmodes
.github/agents .github/skills

.github/workflows .github/actions .github/hooks .gitlab-ci.yml .gitlab .circleci .forgejo/workflows .forgejo/actions
.gitea/workflows .gitea/actions .buildkite .travis.yml .woodpecker .woodpecker.yml .woodpecker.yaml .drone.yml
appveyor.yml .appveyor.yml .cirrus.yml .tekton .semaphore .build.yml .builds buildspec.yml cloudbuild.yaml
azure-pipelines.yml azure-pipelines.yaml bitbucket-pipelines.yml jenkinsfile

.bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc
.mkshrc .oh-my-zsh .config/nushell .config/powershell .xonshrc .config/xonsh .cshrc .tcshrc .login .logout .lessfilter
.mailcap .inputrc .config/fish .xprofile
.xinitrc .xsession .xsessionrc .xsessionrc.d .pam_environment .config/environment.d .config/systemd .config/autostart
.local/bin .local/share/applications .local/share/systemd library/launchagents .ssh .gnupg .aws .azure .kube
.docker/config.json .docker/cli-plugins .terraformrc .curlrc .wgetrc .netrc .psqlrc .sqliterc .my.cnf .npmrc .yarnrc
.yarnrc.yml .pnpmfile.cjs .pypirc .config/pip pip.conf .condarc .gemrc .bundle/config .mvn .m2/settings.xml
.gradle/init.d .gradle/init.gradle .cargo/config .cargo/config.toml

superagent.toml
""".split()  # noqa: SIM905 - as many lines of quotes and commas tell less

Names = tuple[str, ...]

_SPLIT: list[Names] = [tuple(one.split("/")) for one in PATHS]
_ENDINGS = tuple(one[0].removeprefix("*") for one in _SPLIT if one[0].startswith("*"))
_ALONE = frozenset(one[0] for one in _SPLIT if len(one) == 1)
_LONGER = [one for one in _SPLIT if len(one) > 1 and "**" not in one]
_APART = [(one[: one.index("**")], one[one.index("**") + 1 :]) for one in _SPLIT if "**" in one]
_FIRST = frozenset(one[0] for one in _SPLIT if len(one) > 1)
# Folders on the way to some. `.config` is left out: it is what a kernel and many others call the file of their choices.
_LEADING = frozenset(
    one[:length]
    for one in _SPLIT
    for length in range(1, len(one))
    if one[0].startswith(".") and not any("*" in name for name in one[:length]) and one[:length] != (".config",)
)
_LONGEST = max(map(len, _LEADING))


def steers(path: str, *, folder: bool = False) -> bool:
    """Tell whether a path is one of these or lies beneath one.

    What is named like a folder on the way to one (`.git`, `.github`, `.cargo`) counts as well unless it is known to be
    a `folder`: as a link it leads to what somebody wrote elsewhere, and what is put there as a whole brings it. A file
    `.git` leads git to a configuration elsewhere. Of git's hooks, no program runs a `*.sample`.
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
    if not folder and any(tuple(parts[-length:]) in _LEADING for length in range(1, _LONGEST + 1)):
        return True
    if parts[-1].endswith(".sample") and parts[-2:-1] == ["hooks"] and ".git" in parts[:-2]:
        parts = parts[:-2]  # the very file, not what lies beneath a folder of that name
    return any(_find(parts, 0, one) >= 0 for one in _LONGER) or any(_one_behind(parts, *one) for one in _APART)


def _one_behind(parts: list[str], first: Names, then: Names) -> bool:
    """Tell whether some names follow others, however far behind; once through, however often the first ones occur."""
    at = _find(parts, 0, first)
    return at >= 0 and _find(parts, at + len(first), then) >= 0


def _find(parts: list[str], begin: int, wanted: Names) -> int:
    """Give where these names stand one after the other for the first time; -1 for nowhere."""
    for at in range(begin, len(parts) - len(wanted) + 1):
        if parts[at] == wanted[0] and all(
            name in ("*", part) for name, part in zip(wanted, parts[at : at + len(wanted)], strict=True)
        ):
            return at
    return -1


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
