"""Reference: the pages about operations, settings and roles, as text made from the code and its data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.runtime.policies import ROLES_FILE, built_in, for_strangers
from superagent.settings import PREFIX, Section, Settings

TAKEN_BACK = {
    "undo": "yes",
    "compensate": "by an opposite call",
    "ephemeral": "leaves nothing behind",
    "irreversible": "no",
    "nothing": "changes nothing",
}


def settings_page() -> str:
    """Describe each setting: its name in the file, its environment variable, what it takes, and its default."""
    text = (
        "# Settings\n\n"
        "Read once at the start: defaults, then `superagent.toml` in the data folder, then the environment, then\n"
        "flags. `superagent settings` shows each value and where it came from. The data folder itself is `--data`,\n"
        "else `SUPERAGENT_DATA`, else the platform's user data folder.\n"
    )
    for section, info in Settings.model_fields.items():
        kind = info.annotation
        assert isinstance(kind, type) and issubclass(kind, Section)
        text += f"\n## {section}\n\n{_sentence(kind.__doc__)}\n\n"
        text += "| setting | environment | takes | default |\n|---|---|---|---|\n"
        for name, schema in kind.model_json_schema()["properties"].items():
            default = _code(json.dumps(schema["default"]))
            variable = f"{PREFIX}{section}__{name}".upper()
            text += f"| `{section}.{name}` | `{variable}` | {_type(schema)} | {default} |\n"
    return text


def roles_page() -> str:
    """Describe the built-in roles; in their data file a line `# ---- role: what it is for` introduces each."""
    source = ROLES_FILE.read_text("utf-8")
    told = {role: line for line, role in re.findall(r"^# -+ (.+)\n(?:#.*\n)*\[\[(.+)\]\]", source, re.MULTILINE)}
    text = (
        "# Roles\n\n"
        "A role is a set of grants, written in the same language as any other. Without a grant nothing is allowed;\n"
        "a deny beats everything. `{workspace}` is the caller's own folder, `{roots}` what the setting `files.roots`\n"
        "opens.\n"
    )
    for role, grants in groupby([*built_in(), *for_strangers()], key=lambda grant: grant.id.split(":")[1]):
        text += f"\n## {role}\n\n{_sentence(told[role].partition(': ')[2])}\n\n"
        text += "| | operations | where | only |\n|---|---|---|---|\n"
        for grant in grants:
            where = ", ".join(map(_code, grant.where.paths)) or "everywhere"
            text += f"| {grant.effect} | {', '.join(map(_code, grant.operations))} | {where} | {_conditions(grant)} |\n"
    return text


def contract(operations: Iterable[Operation]) -> str:
    """Give what callers rely on as JSON: a change within a version may only add."""
    shapes = {
        one.name: {
            "version": one.version,
            "effect": one.effect.name,
            "risk": one.risk.name,
            "scope": one.scope,
            "taken_back": one.takes_back,
            "input": one.input_schema,
            "output": one.output_schema,
            "digest": one.digest,
        }
        for one in operations
    }
    return json.dumps(shapes, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def operations_page(operations: Iterable[Operation]) -> str:
    """Describe each operation: what it does, takes and gives, how risky it is and whether it can be taken back."""
    ordered = sorted(operations, key=lambda one: one.name)
    text = (
        "# Operations\n\n"
        "Everything the platform can do, under one name for path, command, permission and record.\n\n"
        "| operation | effect | risk | taken back | |\n|---|---|---|---|---|\n"
    )
    for one in ordered:
        link = one.name.replace(".", "")
        text += f"| [`{one.name}`](#{link}) | {one.effect.name} | {one.risk.name} | {TAKEN_BACK[one.takes_back]} "
        text += f"| {_cell(one.summary)} |\n"
    return text + "".join(map(_operation, ordered))


def _operation(one: Operation) -> str:
    text = f"\n## {one.name}\n\n{one.description}\n\n"
    facts = [f"{one.effect.name}, risk {one.risk.name}", f"taken back: {TAKEN_BACK[one.takes_back]}"]
    if one.untrusted != "never":
        worth = "untrusted" if one.untrusted == "always" else "untrusted unless all of it lies in one's own workspace"
        facts.append(f"its text is {worth}")
    if one.sends:
        facts.append("sends")
    facts[1] += f" ({one.why})" if one.why and one.takes_back != "nothing" else ""
    facts += ["of the whole installation"] if one.scope == "instance" else []
    facts += ["answers as a stream"] if one.stream else []
    facts += [f"ends after {one.timeout_s:g} s at the latest"]
    text += "".join(f"- {fact}\n" for fact in facts)
    text += _fields("takes", one.input_schema) + _fields("gives", one.output_schema)
    for example in one.examples:
        text += (
            f"\n{_sentence(example.title)}\n\n```json\n{json.dumps(example.input, indent=2, ensure_ascii=False)}\n```\n"
        )
    return text


def _fields(verb: str, schema: Mapping[str, Any]) -> str:
    properties: dict[str, Any] = schema.get("properties", {})
    if not properties:
        return f"\n{verb.capitalize()} nothing.\n"
    needed: list[str] = schema.get("required", [])
    text = (
        f"\n| {verb} | type |{' default |' if verb == 'takes' else ''}\n|---|---|{'---|' if verb == 'takes' else ''}\n"
    )
    for name, field in properties.items():
        text += f"| `{name}` | {_type(field)} |"
        default = "needed" if name in needed else _code(json.dumps(field["default"])) if "default" in field else ""
        text += f" {default} |\n" if verb == "takes" else "\n"
    return text


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        text = " or ".join(_type(part) for part in schema["anyOf"])
    elif "enum" in schema:
        text = " or ".join(_code(json.dumps(value)) for value in schema["enum"])
    elif "const" in schema:
        text = _code(json.dumps(schema["const"]))
    elif "$ref" in schema:
        text = schema["$ref"].rpartition("/")[2]
    elif schema.get("type") == "array":
        text = f"list of {_type(schema.get('items', {}))}"
    else:
        text = str(schema.get("type", "anything"))
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    if low is not None:
        text += f", {'above' if 'exclusiveMinimum' in schema else 'from'} {low}"
    if high is not None:
        text += f", {'below' if 'exclusiveMaximum' in schema else 'to'} {high}"
    return text + (f": {_cell(schema['description'])}" if "description" in schema else "")


def _conditions(grant: Grant) -> str:
    said = [
        " or ".join(grant.effects),
        "what can be undone" if grant.undoable else "",
        f"up to {grant.max_risk}" if grant.max_risk else "",
        f"called by {' or '.join(grant.origin)}" if grant.origin else "",
        f"second factor within {grant.when.mfa_max_age_s} s" if grant.when.mfa_max_age_s else "",
        f"{grant.require.approvals} approval" if grant.require else "",
        "of the whole installation" if grant.instance else "",
    ]
    return ", ".join(filter(None, said))


def _sentence(text: str | None) -> str:
    said = (text or "").strip()
    return said[:1].upper() + said[1:].rstrip(".") + "." if said else ""


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")
