"""What a plugin declares is checked as strictly as if it stood here, whoever wrote the declaration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from superagent.hosted import words
from superagent.hosted.declaring import declare
from superagent.runtime.hosted.declared import plugin_of
from superagent.runtime.hosted.doing import told_of
from superagent.runtime.hosted.schemas import Types
from superagent.sdk import (
    Context,
    DestroyPath,
    Effect,
    Input,
    Keeper,
    Kept,
    Output,
    Plugin,
    Preview,
    ReadPath,
    Risk,
    WritePath,
    put_back,
)

RUNS: Any = None  # nothing is run here


class Out(Output):
    """What came out."""

    n: int


class In(Input):
    """What goes in."""

    word: Annotated[str, Field(min_length=1, max_length=9, pattern="^[a-z]+$", description="a word")]
    more: list[dict[str, float]] = []


def sample() -> Plugin:
    """Make a plugin that has a little of everything."""
    plugin = Plugin("sample", reaches=("files",))

    @plugin.operation(risk=Risk.MEDIUM, undo=put_back)
    async def change(
        ctx: Context,
        path: WritePath,
        others: list[ReadPath] | None = None,
        kind: Literal["a", "b"] = "a",
        given: In | None = None,
        count: Annotated[int, Field(ge=1, lt=10)] = 1,
        for_: bool = False,
    ) -> Out:
        """Change something."""
        raise NotImplementedError

    @plugin.operation(risk=Risk.HIGH, irreversible="it is gone")
    async def destroy(ctx: Context, path: DestroyPath) -> None:
        """Destroy something."""

    @destroy.preview
    async def _(ctx: Context, path: DestroyPath) -> Preview:
        return Preview(summary="gone")

    assert all((change, destroy, _))
    return plugin


def said(**changes: Any) -> words.Declaration:
    """Give the sample's declaration as it comes over the line, with one thing said otherwise."""
    declaration = msgspec.to_builtins(declare(sample())[0])
    for name, value in changes.items():
        target = declaration if name in declaration else declaration["operations"][0]
        target[name] = value
    return msgspec.convert(declaration, words.Declaration)


def made(declaration: words.Declaration) -> dict[str, Any]:
    _, operations = plugin_of(declaration, "sample", ["files"], RUNS)
    return {one.name: one for one in operations}


def test_a_declared_operation_is_the_one_that_its_author_compiled() -> None:
    theirs = {one.name: one for one in sample().compile()}
    ours = made(said())
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        for field in ("digest", "summary", "effect", "risk", "takes_back", "touched", "reaches", "timeout_s", "scope"):
            assert getattr(ours[name], field) == getattr(one, field), (name, field)


@given(st.dictionaries(st.sampled_from(["path", "others", "kind", "given", "count", "for", "odd"]), st.one_of(
    st.none(), st.booleans(), st.integers(-2, 12), st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2),
    st.fixed_dictionaries({"word": st.sampled_from(["ok", "NO", "", "toolongaword"])}),
)))  # fmt: skip
def test_an_input_is_taken_or_refused_as_by_the_author_and_in_the_same_words(body: dict[str, Any]) -> None:
    ours, theirs = OURS["sample.change"], THEIRS["sample.change"]

    def tried(operation: Any) -> Any:
        try:
            values = operation.parse(body)
        except Exception as bad:
            return type(bad), [(one.path, one.message) for one in getattr(bad, "errors", ())]
        return {name: value.model_dump() if isinstance(value, Input) else value for name, value in values.items()} | (
            {"given": None if values["given"] is None else values["given"].model_dump()}
        )

    assert tried(ours) == tried(theirs)


OURS, THEIRS = made(said()), {one.name: one for one in sample().compile()}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"protocol": 2}, "it speaks protocol 2"),
        ({"name": "files"}, "its manifest is called `sample`, the plugin in it `files`"),
        ({"hooks": ["lifespan"]}, "cannot hang `lifespan` on the platform"),
        ({"reaches": ["files", "net"]}, "it reaches `net`, which its manifest does not say"),
        ({"operations": []}, "it declares 0 operations"),
        ({"scope": "instance"}, "only the platform's own operations"),
        ({"inline": True}, "what runs elsewhere is not `inline`"),
        ({"assess": True}, "run before a call is permitted"),
        ({"touches": True}, "run before a call is permitted"),
        ({"timeout_s": 1e9}, "`timeout_s` is from 0 to 3600"),
        ({"timeout_s": -1.0}, "`timeout_s` is from 0 to 3600"),
        ({"doc": ""}, "has no docstring"),
        ({"doc": "x" * 30_000}, "more than anybody reads"),
        ({"doc": "Clear the screen \x1b[2J."}, "cannot be shown"),
        ({"irreversible": "\u202egnihton"}, "cannot be shown"),
        ({"version": 0}, "no positive number"),
        ({"risk": 9}, "its risk or effect is none"),
        ({"risk": 0}, "at least of the risk MEDIUM"),
        ({"undo": ""}, "declare exactly one of undo, compensate, ephemeral, irreversible"),
        ({"irreversible": "no"}, "declare exactly one of undo, compensate, ephemeral, irreversible"),
        ({"compensate": True, "undo": ""}, "no undo function says how"),
        ({"touched": []}, "touches nothing and declares no effect"),
        ({"touched": [{"argument": "path", "kind": "path", "effect": 2}]}, "destroys and has no preview"),
        ({"touched": [{"argument": "path", "kind": "setting", "effect": 1}]}, "names resources of the kinds"),
        ({"touched": [{"argument": "count", "kind": "path", "effect": 1}]}, "touches nothing and declares no effect"),
        ({"reaches": ["files"], "arguments": ["path"]}, "its arguments are not those of its schema"),
        ({"digest": "0" * 64}, "its whole cannot be said by plain types"),
        ({"effect": 2}, "destroys and has no preview"),
    ],
)  # fmt: skip
def test_what_loading_refuses_here_it_refuses_there(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        made(said(**changes))


def test_a_default_that_nobody_could_give_is_refused() -> None:
    declaration = msgspec.to_builtins(said())
    schema = declaration["operations"][0]["input_schema"]
    schema["required"] = []
    schema["properties"]["path"]["default"] = 7
    with pytest.raises(TypeError, match="the default of `path` is none that could be given"):
        made(msgspec.convert(declaration, words.Declaration))


def test_a_declaration_without_end_is_refused() -> None:
    examples = [{"title": "x", "input": {"a": "x" * 1024 * 1024}}]
    with pytest.raises(TypeError, match="it declares more than"):
        made(said(examples=examples))


@pytest.mark.parametrize(
    "name", ["files.read", "sample", "samples.change", "sample.Change", "sample.a.b.c.d", "sample."]
)
def test_nothing_is_declared_under_anothers_name_or_one_that_cannot_be(name: str) -> None:
    from superagent.core.registry import Registry

    with pytest.raises(TypeError):
        Registry(made(said(operations=[{**msgspec.to_builtins(said().operations[0]), "name": name}])).values())


def test_reaches_of_an_operation_are_those_of_its_plugin() -> None:
    declaration = msgspec.to_builtins(said())
    declaration["operations"][0]["reaches"] = ["net"]
    with pytest.raises(TypeError, match="does not reach net"):
        made(msgspec.convert(declaration, words.Declaration))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "date-time"},
        {"type": "string", "contentEncoding": "base64"},
        {"type": ["string", "null"]},
        {"type": "object"},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#/$defs/Itself"},
        {"$ref": 7},
        {"anyOf": "nothing"},
        {"enum": [1.5]},
        {"not": {}},
        "string",
        None,
    ],
)
def test_a_schema_that_is_not_understood_is_refused_and_not_guessed(schema: Any) -> None:
    itself = {"type": "object", "properties": {"a": {"$ref": "#/$defs/Itself"}}, "additionalProperties": False}
    with pytest.raises(TypeError):
        Types({"$defs": {"Itself": itself}}, Input).of(schema)


def test_a_schema_that_never_ends_is_refused() -> None:
    schema: Any = {"type": "string"}
    for _ in range(40):
        schema = {"type": "array", "items": schema}
    with pytest.raises(TypeError, match="nests deeper"):
        Types({}, Input).of(schema)
    with pytest.raises(TypeError, match="more than 64 classes"):
        Types({"$defs": {f"C{n}": {} for n in range(65)}}, Input)


@pytest.mark.parametrize("name", ["model_dump", "__class__", "_private", "class", "x" * 100, "a-b"])
def test_a_field_that_would_be_something_else_here_is_refused(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}}, "additionalProperties": False}
    with pytest.raises(TypeError):
        Types({"$defs": {"C": schema}}, Input).of({"$ref": "#/$defs/C"})


def test_a_pattern_that_takes_for_ever_elsewhere_takes_no_time() -> None:
    kind = Types({}, Input).of({"type": "object", "additionalProperties": {"type": "string", "pattern": "^(a+)+$"}})
    from pydantic import TypeAdapter, ValidationError

    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python({"a": "a" * 5000 + "!"})


def test_what_a_plugin_hangs_on_the_platform_is_said() -> None:
    plugin = sample()
    keeper: Any = Keeper
    plugin.resource("thing", keeper)
    plugin.on_outcome(lambda outcome: None)
    assert declare(plugin)[0].hooks == ["resource", "on_outcome"]
    assert Effect.READ == 0


def test_of_a_kept_change_a_plugin_is_told_its_own_note_only() -> None:
    def kept(data: dict[str, Any], **more: Any) -> Kept:
        return Kept(
            3, "default", "01X", "sample.change", 1, "ada", "", "path://local/a", Effect.CHANGE, data, 1.0, 2.0, **more
        )

    assert told_of(kept({"mine": 1}, chain=("ada",), callers=("01W",))) == kept({"mine": 1})
    assert told_of(kept({"captured": {"node": "its"}}, before="d0")).data == {}
