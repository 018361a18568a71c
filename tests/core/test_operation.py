"""Operations: a function says what it is, and loading refuses one that leaves something out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import PydanticSchemaGenerationError

from superagent.core.operation import Declared, Input, Nothing, Operation, Output, Preview, compile_operation
from superagent.core.plugin import Plugin
from superagent.core.problems import InvalidInput
from superagent.core.resources import Connection, DestroyPath, Effect, ReadPath, Resource, Risk, Url, WritePath
from tests.core.operations import operation


class Answer(Output):
    text: str


class Step(Input):
    at: ReadPath
    times: int = 1


async def undo(ctx: Any, kept: Any) -> None: ...


async def preview(ctx: Any) -> Preview:
    return Preview(summary="")


def compiled(function: Callable[..., Any], **said: Any) -> Operation:
    hooks = said.pop("hooks", {})
    declared = Declared(function, "test.it", "test", said.pop("risk", Risk.LOW), **said)
    for what, hook in hooks.items():
        getattr(declared, what)(hook)
    return compile_operation(declared)


# ---- what the signature says


async def every(
    ctx: Any,
    one: ReadPath,
    many: list[WritePath],
    maybe: DestroyPath | None = None,
    url: Url | None = None,
    by: Connection = "db",
) -> Answer:
    """Touch one of each.

    And say more.
    """
    return Answer(text="")


def test_the_signature_is_the_schema_and_the_docstring_the_summary() -> None:
    made = compiled(every, hooks={"undo": undo, "preview": preview})
    assert (made.summary, made.domain, made.version) == ("Touch one of each", "test", 1)
    assert "say more" in made.description
    assert made.input_schema["required"] == ["one", "many"]
    assert made.input_schema["additionalProperties"] is False
    assert made.output_schema["properties"]["text"]["type"] == "string"


def test_annotated_parameters_say_what_is_touched_and_the_strongest_effect_is_the_operations() -> None:
    made = compiled(every, hooks={"undo": undo, "preview": preview})
    assert made.effect == Effect.DESTROY
    assert [(touch.argument, touch.kind, touch.effect, touch.many) for touch in made.touched] == [
        ("one", "path", Effect.READ, False),
        ("many", "path", Effect.CHANGE, True),
        ("maybe", "path", Effect.DESTROY, False),
        ("url", "host", Effect.CHANGE, False),
        ("by", "connection", Effect.READ, False),
    ]
    assert made.uses("path", Effect.CHANGE)
    assert not made.uses("host", Effect.READ)


def test_a_declared_effect_counts_where_it_is_stronger() -> None:
    async def run(ctx: Any, at: ReadPath) -> None:
        """Run what lies there."""

    assert compiled(run, effect=Effect.CHANGE, irreversible="it ran").effect == Effect.CHANGE
    assert compiled(run, effect=Effect.READ).effect == Effect.READ


def test_the_input_names_its_resources_canonically_and_is_rewritten_to_them() -> None:
    made = compiled(every, hooks={"undo": undo, "preview": preview})
    values = made.parse(
        {"one": "a/../b", "many": ["/x//y", "z", "/x/y"], "url": "https://Example.org/p", "by": "orders"}
    )
    found = made.resources(values, "/ws")
    assert [one.id for one in found] == [
        "path://local/ws/b", "path://local/x/y", "path://local/ws/z", "host://-/example.org:443", "connection://-/orders",
    ]  # fmt: skip
    assert (values["one"], values["many"], values["maybe"]) == ("/ws/b", ["/x/y", "/ws/z", "/x/y"], None)
    assert values["url"] == "https://Example.org/p"


def test_a_hook_names_more_than_the_parameters_do() -> None:
    found = operation("db.report").resources({}, "")
    assert found == (Resource("sql", "orders-db", "public.orders", Effect.READ),)


def test_an_operation_that_touches_nothing_names_nothing() -> None:
    assert operation("self.whoami").resources({}, "/ws") == ()


def test_a_wrong_name_of_a_resource_is_a_wrong_input() -> None:
    with pytest.raises(InvalidInput):
        operation("notes.read").resources({"path": "a\0"}, "/ws")


# ---- parsing


async def odd(
    ctx: Any, from_: str = "x", model_name: str = "m", copy: str = "c", count: int = 0, steps: list[Step] | None = None
) -> Nothing:
    """Take parameters whose names are taken elsewhere."""
    return Nothing()


def test_names_that_python_or_the_schema_library_takes_are_plain_in_the_input() -> None:
    made = compiled(odd, effect=Effect.READ)
    assert set(made.input_schema["properties"]) == {"from", "model_name", "copy", "count", "steps"}
    values = made.parse({"from": "a", "model_name": "b", "copy": "c"})
    assert (values["from_"], values["model_name"], values["copy"], values["count"]) == ("a", "b", "c", 0)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"count": "1"}, "$.count"),
        ({"count": 1.0}, "$.count"),
        ({"count": True}, "$.count"),
        ({"strange": 1}, "$.strange"),
        ({"from_": "x"}, "$.from_"),
        ({"steps": [{"at": "/a"}, {"at": 1}]}, "$.steps[1].at"),
        ({"steps": [{"at": "/a", "more": 1}]}, "$.steps[0].more"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_path_of_the_fault(body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput, match=r"does not fit `test.it`") as refused:
        compiled(odd, effect=Effect.READ).parse(body)
    assert [fault.path for fault in refused.value.errors] == [path]
    assert refused.value.hint == "see `superagent describe test.it`"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("counts", "there is no such field; did you mean `count`?"),
        ("zzz", "there is no such field; there are `from`, `model_name`, `copy`, `count`, `steps`"),
        ("counts" * 20, "there is no such field; there are `from`, `model_name`, `copy`, `count`, `steps`"),
    ],
)
def test_a_field_that_nobody_knows_is_answered_with_the_one_it_is_like(typed: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        compiled(odd, effect=Effect.READ).parse({typed: 1})
    assert [fault.message for fault in refused.value.errors] == [message]


def test_what_has_to_be_given_is_likelier_meant_than_what_may_be_left_out() -> None:
    async def run(ctx: Any, command: str, cwd: str = "") -> None:
        """Run a line."""

    with pytest.raises(InvalidInput) as refused:
        compiled(run, effect=Effect.READ).parse({"cmd": "ls"})
    assert [fault.message for fault in refused.value.errors][1:] == ["there is no such field; did you mean `command`?"]


def test_a_refusal_never_repeats_the_refused_value() -> None:
    with pytest.raises(InvalidInput) as refused:
        compiled(odd, effect=Effect.READ).parse({"count": "hunter2-secret"})
    assert "hunter2" not in json.dumps(refused.value.document())


def test_an_operation_without_parameters_takes_an_empty_input_only() -> None:
    assert operation("self.whoami").parse({}) == {}
    with pytest.raises(InvalidInput):
        operation("self.whoami").parse({"x": 1})


def test_a_parameter_that_cannot_be_checked_is_found_out_before_the_first_call() -> None:
    class Strange:
        pass

    async def strange(ctx: Any, what: Strange) -> None:
        """Take what no schema describes."""

    strange.__annotations__["what"] = Strange
    with pytest.raises(PydanticSchemaGenerationError):
        compiled(strange, effect=Effect.READ).shape.prepare()
    operation("notes.read").shape.prepare()


def test_an_output_becomes_json() -> None:
    assert operation("self.whoami").dump(Answer(text="\u00e9")) == '{"text":"\u00e9"}'.encode()


# ---- what may be left out, and what not


async def reads(ctx: Any, at: ReadPath) -> None:
    """Read."""


async def writes(ctx: Any, at: WritePath) -> None:
    """Write."""


async def drops(ctx: Any, at: DestroyPath) -> None:
    """Drop."""


async def silent(ctx: Any, at: ReadPath) -> None: ...


async def bare(ctx: Any, count: int) -> None:
    """Count."""


async def plain(ctx: Any, at: ReadPath) -> dict[str, Any]:
    """Read."""
    return {}


@pytest.mark.parametrize(
    ("function", "said", "complaint"),
    [
        (silent, {}, "has no docstring"),
        (bare, {}, "touches nothing and declares no effect"),
        (plain, {}, "must give back a class that extends `Output`"),
        (writes, {}, "declare exactly one of"),
        (writes, {"ephemeral": "a", "irreversible": "b"}, "declare exactly one of"),
        (writes, {"ephemeral": "a", "hooks": {"undo": undo}}, "declare exactly one of"),
        (writes, {"compensate": True, "irreversible": "b"}, "declare exactly one of"),
        (writes, {"compensate": True}, "no undo function says how"),
        (reads, {"irreversible": "b"}, "only reads"),
        (reads, {"hooks": {"undo": undo}}, "only reads"),
        (drops, {"hooks": {"undo": undo}}, "destroys and has no preview"),
        (writes, {"ephemeral": "a", "hooks": {"validator": undo}}, "has a validator"),
        (reads, {"inline": True, "hooks": {"validator": undo}}, "has a validator"),
        (reads, {"reaches": ("secret",), "hooks": {"validator": undo}}, "has a validator"),
    ],
)
def test_loading_refuses_what_leaves_something_open(
    function: Callable[..., Any], said: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        compiled(function, **said)


@pytest.mark.parametrize(
    ("said", "way", "why", "undoable"),
    [
        ({"hooks": {"undo": undo}}, "undo", "", True),
        ({"hooks": {"undo": undo}, "compensate": True}, "compensate", "", False),
        ({"ephemeral": "it ends with the call"}, "ephemeral", "it ends with the call", False),
        ({"irreversible": "it is sent"}, "irreversible", "it is sent", False),
    ],
)
def test_what_changes_says_in_which_way_it_is_taken_back(
    said: dict[str, Any], way: str, why: str, undoable: bool
) -> None:
    made = compiled(writes, **said)
    assert (made.takes_back, made.why, made.undoable) == (way, why, undoable)
    assert not made.idempotent


def test_a_read_has_nothing_to_take_back_and_may_be_repeated() -> None:
    made = compiled(reads)
    assert (made.takes_back, made.why, made.undoable, made.idempotent) == ("nothing", "it only reads", False, True)


def test_an_operation_may_reach_less_than_its_plugin_and_never_more() -> None:
    plugin = Plugin("narrow", reaches=("secret", "net"))

    async def look(ctx: Any) -> Nothing:
        """Look."""
        return Nothing()

    plugin.operation(name="narrow.all", risk=Risk.LOW, effect=Effect.READ)(look)
    plugin.operation(name="narrow.none", risk=Risk.LOW, effect=Effect.READ, reaches=())(look)
    assert [one.reaches for one in plugin.compile()] == [{"secret", "net"}, set()]
    with pytest.raises(TypeError, match="does not reach files"):
        plugin.operation(risk=Risk.LOW, effect=Effect.READ, reaches=("net", "files"))


def test_a_hook_is_hung_on_once() -> None:
    declared = Declared(reads, "test.it", "test", Risk.LOW)

    def assess(values: dict[str, Any]) -> Risk:
        return Risk.HIGH

    assert declared.assess(assess) is assess
    with pytest.raises(TypeError, match="has its assess already"):
        declared.assess(assess)
    assert compile_operation(declared).assess is assess


def test_it_is_compiled_once_and_nothing_is_hung_on_afterwards() -> None:
    plugin = Plugin("test")
    declared = plugin.operation(risk=Risk.LOW)(reads)
    assert plugin.compile()[0] is plugin.compile()[0] is declared.compiled

    def assess(values: dict[str, Any]) -> Risk:
        return Risk.HIGH

    with pytest.raises(TypeError, match="is installed already"):
        declared.assess(assess)


def test_a_stream_gives_events_of_one_class() -> None:
    async def watch(ctx: Any, at: ReadPath) -> AsyncIterator[Answer]:
        """Watch."""
        yield Answer(text="")

    made = compiled(watch)
    assert made.stream
    assert "text" in made.output_schema["properties"]
    assert not compiled(reads).stream


def test_the_digest_names_the_shape_and_nothing_else() -> None:
    async def wider(ctx: Any, at: ReadPath, more: int = 0) -> None:
        """Read."""

    async def told_otherwise(ctx: Any, at: ReadPath) -> None:
        """Read, in other words."""

    same = compiled(reads).digest
    assert same == compiled(told_otherwise).digest == compiled(reads, risk=Risk.HIGH).digest
    assert (
        len(
            {same, compiled(wider).digest, compiled(reads, version=2).digest, compiled(writes, irreversible="x").digest}
        )
        == 4
    )
