"""Steering: the paths that make other programs run what they say, or that agents later take for orders.

One list, with one owner. Grants speak of it as `{steering}`: by a built-in one, whatever an agent changes there needs a
person first (ADR 72). What a command did there stays in its view until somebody names it. Code that people run because
they want to (a script, a test, a `Makefile`) is not on it: that is what agents are asked to write.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from fnmatch import fnmatchcase

from superagent.core.resources import beneath

PLACEHOLDER = "{steering}"
SAID = "paths that make other programs run what they say, or that agents take for orders"

# Each at any depth, with all beneath it; `*` stands for any text in a name, `**` for any number of names.
PATHS = """
.git/hooks .git/config .git/config.worktree .git/commondir .git/info/attributes .git/worktrees/*/config.worktree
.git/worktrees/*/commondir .git/worktrees/*/hooks .git/worktrees/*/config .git/modules/**/hooks .git/modules/**/config
.git/modules/**/config.worktree .git/modules/**/commondir .git/modules/**/info/attributes .gitmodules .gitconfig
.config/git .husky .githooks .pre-commit-config.yaml .pre-commit-config.yml lefthook.yml .lefthook.yml lefthook.yaml
.lefthook.yaml .overcommit.yml .simple-git-hooks.json .envrc .direnv mise.toml .mise.toml mise.local.toml
.mise.local.toml .mise

.vscode .vscode-server .vscodium *.code-workspace .idea .fleet .zed .devcontainer .devcontainer.json .theia .vimrc
.vim .nvimrc .exrc .nvim.lua .dir-locals.el .dir-locals-2.el .emacs .emacs.d .config/emacs .config/nvim .config/code
.config/vscodium .config/zed .config/helix .helix .gitpod.yml .replit .idx .gdbinit .lldbinit .pdbrc .rprofile
.pythonrc .irbrc .tmux.conf

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
.mkshrc .oh-my-zsh .config/nushell .config/powershell .cshrc .tcshrc .login .logout .inputrc .config/fish .xprofile
.xinitrc .xsession .xsessionrc .xsessionrc.d .pam_environment .config/environment.d .config/systemd .config/autostart
.local/bin .local/share/applications .local/share/systemd library/launchagents .ssh .gnupg .aws .kube
.docker/config.json .docker/cli-plugins .curlrc .wgetrc .npmrc .yarnrc .yarnrc.yml .pnpmfile.cjs .pypirc .config/pip
pip.conf .condarc .gemrc .mvn .m2/settings.xml .gradle/init.d .gradle/init.gradle .cargo/config .cargo/config.toml

superagent.toml
""".split()  # noqa: SIM905 - as many lines of quotes and commas tell less

# of these, what no program runs by itself: the very file, not what lies beneath a folder of that name
HARMLESS = [".git/**/hooks/*.sample"]

Pattern = tuple[str, ...]

_PATTERNS: tuple[Pattern, ...] = tuple(tuple(one.split("/")) for one in PATHS)
_HARMLESS: tuple[Pattern, ...] = tuple(tuple(one.split("/")) for one in HARMLESS)
# Folders on the way to some. `.config` is left out: it is what a kernel and many others call the file of their choices.
_LEADING = frozenset(
    one[:length]
    for one in _PATTERNS
    for length in range(1, len(one))
    if one[0].startswith(".") and not any("*" in name for name in one[:length]) and one[:length] != (".config",)
)
_LONGEST = max(map(len, _LEADING))
_ENDINGS = tuple(one[0].removeprefix("*") for one in _PATTERNS if one[0].startswith("*"))
_BY_FIRST: dict[str, list[Pattern]] = {}
for _one in _PATTERNS:
    _BY_FIRST.setdefault(_one[0], []).append(_one)
_FIRST = _BY_FIRST.keys()


def steers(path: str, *, folder: bool = False) -> bool:
    """Tell whether a path is one of these or lies beneath one; what it lies in counts from its own beginning on.

    What is named like a folder on the way to one (`.git`, `.github`, `.cargo`) counts as well unless it is known to be
    a `folder`: as a link it leads to what somebody wrote elsewhere, and what is put there as a whole brings it. A file
    `.git` leads git to a configuration elsewhere.
    """
    parts = _folded(path).split("/")
    if _FIRST.isdisjoint(parts) and not any(part.endswith(_ENDINGS) for part in parts):  # nearly always
        return False
    if not folder and any(tuple(parts[-length:]) in _LEADING for length in range(1, _LONGEST + 1)):
        return True
    found = any(
        part.endswith(_ENDINGS) or any(_begins(parts[at:], pattern) for pattern in _BY_FIRST.get(part, ()))
        for at, part in enumerate(parts)
    )
    return found and not any(_is(parts[at:], one) for one in _HARMLESS for at in range(len(parts)))


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


def _is(parts: list[str], pattern: Pattern) -> bool:
    """Tell whether a path is what a pattern names, and nothing beneath it."""
    if not parts or not pattern:
        return not parts and not pattern
    if pattern[0] == "**":
        return any(_is(parts[at:], pattern[1:]) for at in range(len(parts)))
    return fnmatchcase(parts[0], pattern[0]) and _is(parts[1:], pattern[1:])


def _begins(parts: list[str], pattern: Pattern) -> bool:
    """Tell whether a path is what a pattern names, or lies beneath it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_begins(parts[at:], pattern[1:]) for at in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _begins(parts[1:], pattern[1:])


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
