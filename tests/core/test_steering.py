"""The one list of paths that steer other programs: which names are on it, in every spelling, and in a grant."""

from __future__ import annotations

import pytest

from superagent.core.policy import Policy
from superagent.core.policy_text import words
from superagent.core.resources import Effect, Resource
from superagent.core.steering import PATHS, steers
from tests.core.judging import grant, policy, verdict
from tests.core.operations import person

ORDINARY = [
    "README.md", "src/main.py", "Makefile", "package.json", "config", "hooks/pre-commit", "git/config", ".gitignore",
    ".github/x", ".github/ISSUE_TEMPLATE/bug.md", ".git/objects/ab", ".git/HEAD", ".git/hooks/pre-commit.sample",
    "hooks/.git/x", "docs/agents.txt", "vscode/tasks.json", ".env", ".config/app.toml", "a.code-workspace.txt",
]  # fmt: skip
STEERING = [
    ".git/hooks", ".git/hooks/pre-commit", "a/b/.git/config", "x/.git", ".git/modules/m/hooks",
    ".git/modules/a/b/hooks/x",
    ".cursor/mcp.json", ".mcp.json", ".vscode/tasks.json", ".vscode/settings.json", ".vscode", ".envrc",
    ".claude/settings.json",
    ".github/workflows/ci.yml", ".bashrc", ".ssh/authorized_keys", "CLAUDE.md", "sub/AGENTS.md", "GEMINI.md",
    ".github/copilot-instructions.md", "deep/er/project.code-workspace", ".gitlab-ci.yml", "Jenkinsfile", ".idea/x",
    ".hg/hgrc", ".jj/repo/config.toml", ".direnvrc", ".iex.exs", ".ghci", ".subversion/config",
    ".config/tmux/tmux.conf",
]  # fmt: skip
SPELT = [
    ".GIT/Hooks/x", ".VsCode/tasks.json", "claude.MD", ".vscode./tasks.json", ".git /hooks/x",
    ".vs\u200ccode/tasks.json",
    "．vscode/tasks.json", ".cl\u0430ude/x", ".EnvRC",
]  # fmt: skip


@pytest.mark.parametrize("path", STEERING)
def test_what_other_programs_run_or_agents_obey_is_on_the_list_at_any_depth(path: str) -> None:
    assert steers(path)
    assert steers(f"/home/me/project/{path}")
    assert steers(f"{path}/and/deeper") or path.endswith((".git", ".sample"))


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_work_is_not(path: str) -> None:
    assert not steers(path)
    assert not steers(f"/home/me/project/{path}")


@pytest.mark.parametrize("path", [one for one in SPELT if "\u0430" not in one])
def test_another_spelling_of_the_same_name_is_no_way_around(path: str) -> None:
    assert steers(path)


def test_a_letter_that_only_looks_alike_is_another_name_to_every_filesystem() -> None:
    assert not steers(".cl\u0430ude/x")


@pytest.mark.parametrize("path", [".git", "a/.git"])
def test_a_repository_is_only_a_folder_but_what_is_named_like_one_leads_elsewhere(path: str) -> None:
    assert steers(path)
    assert not steers(path, folder=True)
    assert steers(f"{path}/hooks", folder=True)


def test_every_entry_of_the_list_is_written_as_it_is_compared() -> None:
    assert all(one == one.lower() for one in PATHS)
    assert len(PATHS) == len(set(PATHS))


STOPS = grant("deny", effects=["CHANGE", "DESTROY"], where={"paths": ["{steering}"]}, require={"approvals": 1})


def asked(judged: Policy, path: str, effect: Effect = Effect.CHANGE, **more: bool) -> str:
    return verdict(judged, "notes.write", Resource("path", "local", path, effect, **more))


def test_a_grant_that_allows_all_still_asks_there_and_nowhere_else() -> None:
    judged = policy(grant("allow"), STOPS)
    assert asked(judged, "/w/me/README.md") == "allow"
    assert asked(judged, "/w/me/.vscode/tasks.json") == "ask"
    assert asked(judged, "/w/me/.vscode/tasks.json", Effect.DESTROY) == "ask"
    assert asked(judged, "/w/me/.git") == "ask"
    assert asked(judged, "/w/me/.git", folder=True) == "allow"


def test_a_workspace_in_a_folder_of_such_a_name_is_one_like_all_others() -> None:
    judged = policy(grant("allow"), STOPS)
    own = person(workspace="/home/me/.claude/worktrees/one")
    there = Resource("path", "local", "/home/me/.claude/worktrees/one/README.md", Effect.CHANGE)
    deeper = Resource("path", "local", "/home/me/.claude/worktrees/one/.claude/settings.json", Effect.CHANGE)
    assert verdict(judged, "notes.write", there, who=own) == "allow"
    assert verdict(judged, "notes.write", deeper, who=own) == "ask"
    assert verdict(judged, "notes.write", there) == "ask"


def test_it_is_said_in_words() -> None:
    assert "that make other programs run what they say, or that agents take for orders" in words(STOPS)


@pytest.mark.parametrize("path", ["{steering}/**", "/srv/{steering}", "{steering}x", "{workspace}/{steering}"])
def test_the_list_is_named_as_a_whole(path: str) -> None:
    with pytest.raises(ValueError, match=r"path pattern|placeholder"):
        grant("deny", where={"paths": [path]})


@pytest.mark.parametrize("path", [".git/commondir", ".git/worktrees/w/commondir", ".git/modules/m/commondir"])
def test_what_leads_git_to_a_configuration_elsewhere_is_on_the_list(path: str) -> None:
    assert steers(path)


@pytest.mark.parametrize("path", [".github", ".cargo", ".local", ".git/info", ".git/modules", "home/.local/share"])
def test_a_link_in_the_place_of_a_folder_on_the_way_to_some_is_one_of_them(path: str) -> None:
    assert steers(path)
    assert not steers(path, folder=True)


def test_only_the_sample_itself_is_harmless_not_what_lies_beneath_that_name() -> None:
    assert not steers(".git/modules/m/hooks/pre-commit.sample")
    assert steers(".git/modules/hooks/a.sample/hooks/pre-commit")
    assert steers(".git/hooks/a.sample/.vscode/tasks.json")


@pytest.mark.parametrize("branch", ["hooks", "feature/config", "config/hooks"])
def test_a_branch_may_have_any_name(branch: str) -> None:
    assert not steers(f".git/refs/heads/{branch}")
    assert not steers(f".git/logs/refs/heads/{branch}")


@pytest.mark.parametrize(
    "path", [".config", "src/library", "Makefile", "conftest.py", "package.json", "pyproject.toml"]
)
def test_what_agents_are_asked_to_write_is_not(path: str) -> None:
    assert not steers(path)
