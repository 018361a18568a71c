"""Flags from a schema: what a JSON schema asks for, as arguments of a command line, and back as the input object."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from superagent.core.problems import Malformed
from superagent.core.strict_json import parse
from superagent.surfaces.cli.hidden import hidden_input
from superagent.surfaces.cli.options import CALL_FLAGS, TAKEN, Parser, Usage, add_call_flags, moment, seconds

Kind = Literal["text", "integer", "number", "time", "duration", "flag", "json", "either", "secret"]
_SCALARS: dict[str, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "flag"}
_METAVARS: dict[Kind, str] = {
    "text": "TEXT", "integer": "N", "number": "X", "time": "TIME", "duration": "TIME", "flag": "yes|no", "json": "JSON",
    "either": "VALUE", "secret": "-",
}  # fmt: skip
_NOT_TAKEN_BACK = {"irreversible": "cannot be taken back", "ephemeral": "leaves nothing to take back"}
STDIN = "-"
SEEN = "a secret on the command line is seen by every program on this machine, and kept by the shell"
ELSEWHERE = "take another value; then leave it out to be asked for it, or send it to standard input"

Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One property of an input: how it is typed. `either` is JSON if it reads as such, else text.

    `bare` says that it may stand without its flag although it can be left out.
    """

    name: str
    kind: Kind
    many: bool
    required: bool
    choices: tuple[str, ...]
    help: str
    bare: bool = False

    @property
    def flag(self) -> str:
        """Give its flag."""
        plain = self.name.replace("_", "-")
        return f"--input-{plain}" if plain in TAKEN else f"--{plain}"

    @property
    def metavar(self) -> str:
        """Give what stands for its value in usage lines."""
        return "|".join(self.choices) if self.choices else _METAVARS[self.kind]

    @property
    def positional(self) -> bool:
        """Tell whether its value can stand without its flag."""
        return (self.required or self.bare) and not self.many and self.kind not in ("json", "secret")

    @property
    def place(self) -> str:
        """Give what stands for it in usage lines where its value needs no flag."""
        return self.name.upper() if self.required else f"[{self.name.upper()}]"


def parameters(schema: Mapping[str, Any]) -> list[Parameter]:
    """Read the parameters of an input schema (JSON Schema 2020-12 as pydantic writes it), in its order."""
    required = set(schema.get("required", ()))
    found: list[Parameter] = []
    for name, one in cast("dict[str, dict[str, Any]]", schema.get("properties", {})).items():
        plain, nullable = _resolved(one, schema)
        many = plain.get("type") == "array"
        item = _resolved(plain.get("items", {}), schema)[0] if many else plain
        choices = tuple(str(choice) for choice in item.get("enum", [item["const"]] if "const" in item else ()))
        found.append(
            Parameter(name, _kind(name, item), many, name in required, choices, _help(one | plain, nullable=nullable))
        )
    return found


def parser_of(
    described: Mapping[str, Any],
    command: str,
    fixed: Collection[str] = (),
    flags: Mapping[str, str] | None = None,
    listed: str = "",
    bare: str = "",
) -> tuple[Parser, list[Parameter]]:
    """Make the parser of an operation from its description, and give the parameters it reads.

    `fixed` parameters are not asked for; `flags` gives more spellings of some; `listed` names a list whose values can
    stand without a flag, as those of one can that alone is required; `bare` a parameter that can be left out and still
    needs none.
    """
    known = parameters(described["input_schema"])
    wanted = [replace(one, bare=one.name == bare) for one in known if one.name not in fixed]
    places = " ".join(one.place for one in wanted if one.positional)
    if listed:
        places = f"[{listed.upper().removesuffix('S')} …]"
    elif alone := _alone(wanted):
        places = f"{alone.upper().removesuffix('S')} …"
    parser = Parser(
        command, _about(described), usage=f"superagent {command} {places} [flags]".replace("  ", " "),
        epilog=_examples(described, command, wanted),
    )  # fmt: skip
    parser.add_argument("values", nargs="*", help=argparse.SUPPRESS)
    group = parser.add_argument_group("input")
    for one in wanted:
        spellings = [one.flag, *([flags[one.name]] if flags and one.name in flags else [])]
        _add(group, one, spellings)
    own = frozenset(spelling.removeprefix("--") for one in wanted for spelling in [one.flag])
    add_call_flags(parser, own & {name for name, _ in CALL_FLAGS})
    return parser, wanted


def input_of(
    given: argparse.Namespace, wanted: list[Parameter], now: float, listed: str = "", ask: Ask = hidden_input
) -> dict[str, Any]:
    """Give the input object of parsed arguments: values without a flag fill the required parameters in their order.

    `now` in epoch seconds, for times that are told as how long ago; `ask` gets what may not be typed. Raises `Usage`.
    """
    values: list[str] = list(given.values)
    listed = listed or _alone(wanted)
    _refuse_typed_secrets(given, wanted)
    found: dict[str, Any] = {}
    for one in wanted:
        typed: Any = getattr(given, f"input_{one.name}")
        if one.name == listed:
            typed, values = [*(typed or []), *values] or None, []
        elif typed is None and one.positional and values:
            typed = values.pop(0)
        if one.kind == "secret":
            if one.required or typed is not None:
                found[one.name] = ask(one.name)
        elif typed is not None:
            found[one.name] = _read(one, typed, now)
        elif one.required:
            place = f"{one.place} or " if one.positional or one.name == listed else ""
            about = f": {one.help.replace('%%', '%')}" if one.help else ""
            raise Usage(f"`{one.name}` is missing", f"give {place}{one.flag} {one.metavar}{about}")
    if values:
        raise Usage("there is one value too many", _without_flags(wanted))  # which may be a secret
    return found


def _alone(wanted: Sequence[Parameter]) -> str:
    """Give the name of the only parameter that is required where that is a list of plain values, else nothing."""
    required = [one for one in wanted if one.required]
    plain = len(required) == 1 and required[0].many and required[0].kind not in ("json", "secret")
    return required[0].name if plain and not any(one.positional for one in wanted) else ""


def _without_flags(wanted: list[Parameter]) -> str:
    """Say which values can stand without a flag, and by which flags the others are given."""
    places = " ".join(one.place for one in wanted if one.positional)
    flags = [one.flag for one in wanted if not one.positional]
    named = f" ({', '.join(flags[:4])}{' …' if len(flags) > 4 else ''})" if flags else ""
    return (
        f"without a flag it takes {places or 'nothing'}; put the flag{named} before every other value, "
        f"and quote what has spaces"
    )


def _refuse_typed_secrets(given: argparse.Namespace, wanted: list[Parameter]) -> None:
    typed = {one.name: getattr(given, f"input_{one.name}") for one in wanted}
    secrets = [typed[one.name] for one in wanted if one.kind == "secret"]
    beyond = len(given.values) > sum(one.positional and typed[one.name] is None for one in wanted)
    if secrets and (beyond or any(one not in (None, STDIN) for one in secrets)):
        raise Usage(SEEN, ELSEWHERE)


def _resolved(one: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Follow references and take `null` out of unions: (the schema that is left, whether null was in it)."""
    nullable = False
    while True:
        if "$ref" in one:
            one = cast("dict[str, Any]", schema["$defs"])[one["$ref"].rpartition("/")[2]]
        elif len(kinds := [kind for kind in one.get("anyOf", ()) if kind.get("type") != "null"]) == 1:
            one, nullable = kinds[0], True
        else:
            return dict(one), nullable


def _kind(name: str, schema: Mapping[str, Any]) -> Kind:
    kind = schema.get("type")
    if schema.get("writeOnly"):
        return "secret"
    if kind == "number" and name in ("since", "until"):
        return "time"
    if kind in ("number", "integer") and name.endswith("_s"):
        return "duration"
    if kind in _SCALARS:
        return _SCALARS[kind]
    return "json" if kind in ("object", "array") else "either"


def _help(schema: Mapping[str, Any], *, nullable: bool) -> str:
    words = [str(schema["description"])] if schema.get("description") else []
    if schema.get("writeOnly"):
        words.append("never typed here: asked for without showing it, or read from standard input")
    default = schema.get("default")
    if default is not None and default != "":
        words.append(f"(default {json.dumps(default)})")
    elif nullable or default == "":
        words.append("(optional)")
    return " ".join(words).replace("%", "%%")


def _add(group: argparse._ArgumentGroup, one: Parameter, spellings: list[str]) -> None:  # pyright: ignore[reportPrivateUsage]
    dest, help = f"input_{one.name}", one.help
    if one.kind == "flag" and not one.many and not one.positional:
        group.add_argument(*spellings, dest=dest, action=argparse.BooleanOptionalAction, default=None, help=help)
    elif one.many:
        group.add_argument(*spellings, dest=dest, action="append", metavar=one.metavar, help=f"{help} (repeatable)")
    else:
        group.add_argument(*spellings, dest=dest, metavar=one.metavar, help=help)


def _read(one: Parameter, typed: Any, now: float) -> Any:
    texts: list[Any] = typed if one.many else [typed]
    try:
        found = [_value(one, text, now) for text in texts]
    except (ValueError, LookupError, Malformed, argparse.ArgumentTypeError) as bad:
        detail = str(bad) if isinstance(bad, argparse.ArgumentTypeError) else f"`{texts[-1]}` is no {one.metavar}"
        raise Usage(f"{one.flag}: {detail}") from None
    return found if one.many else found[0]


def _value(one: Parameter, text: Any, now: float) -> Any:
    if one.choices and text not in one.choices:
        raise argparse.ArgumentTypeError(f"`{text}` is none of {', '.join(one.choices)}")
    return text if isinstance(text, bool) else _READERS[one.kind](text, now)


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:  # neither infinity nor NaN is JSON
        raise ValueError(text)
    return int(value) if text.lstrip("+-").isdigit() else value


def _either(text: str) -> Any:
    try:
        return parse(text.encode())
    except Malformed:
        return text


_READERS: dict[Kind, Callable[[str, float], Any]] = {
    "text": lambda text, _: text,
    "integer": lambda text, _: int(text),
    "number": lambda text, _: _number(text),
    "time": moment,
    "duration": lambda text, _: seconds(text),
    "flag": lambda text, _: {"yes": True, "true": True, "no": False, "false": False}[text.lower()],
    "json": lambda text, _: parse(text.encode()),
    "either": lambda text, _: _either(text),
}


def _about(described: Mapping[str, Any]) -> str:
    lines = [str(described["description"]), ""]
    lines.append(f"{described['name']} · {described['effect']} · risk {described['risk']}")
    if described["effect"] != "READ":
        why = f": {described['why']}" if described["why"] else ""
        how = str(described["takes_back"])
        lines[-1] += f" · {_NOT_TAKEN_BACK.get(how, f'taken back by {how}')}{why}"
    return "\n".join(lines)


def _examples(described: Mapping[str, Any], command: str, wanted: list[Parameter]) -> str:
    lines: list[str] = []
    for example in described["examples"]:
        lines += ["", f"  {example['title']}", f"    superagent {command} {as_arguments(example['input'], wanted)}"]
    return "\n".join(["examples:", *lines]) if lines else ""


def as_arguments(input: Mapping[str, Any], wanted: list[Parameter]) -> str:
    """Give an input as a person would type it, quoted for a shell."""
    import shlex

    words: list[str] = []
    last: list[str] = []
    alone = _alone(wanted)
    for one in wanted:
        if one.name not in input or one.kind == "secret":
            continue
        value: Any = input[one.name]
        if one.name == alone and value:
            last = ["--", *(shlex.quote(item if isinstance(item, str) else json.dumps(item)) for item in value)]
            continue
        for item in cast("list[Any]", value) if one.many else [value]:
            if isinstance(item, bool) and one.kind == "flag" and not one.positional:
                words.append(one.flag if item else one.flag.replace("--", "--no-", 1))
                continue
            text = item if isinstance(item, str) else json.dumps(item)
            if one.positional and not text.startswith("-"):
                words.append(shlex.quote(text))
            else:
                words.append(
                    f"{one.flag}={shlex.quote(text)}" if text.startswith("-") else f"{one.flag} {shlex.quote(text)}"
                )
    return " ".join([*words, *last])
