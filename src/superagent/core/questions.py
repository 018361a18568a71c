"""Questions: what an operation asks of its caller, and what a caller's client can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ValidationError

Kind = Literal["form", "model", "folders"]
"""A form for the user; a text by the client's model; the folders that the client works in."""

TASKS = "tasks"
"""Beside the kinds: what a client can do that follows a call which goes on in the background."""

MOST_ANSWERS = 32
MOST_BYTES = 64 * 1024
_FORM = ("type", "properties", "required")


class Question(msgspec.Struct, frozen=True):
    """A question as it is told and stored; `schema` is what fits a form, `most` how many tokens a text may have."""

    name: str
    kind: Kind
    text: str
    schema: dict[str, Any] = {}
    most: int = 0

    def document(self) -> dict[str, Any]:
        """Give what problems show of it."""
        out: dict[str, Any] = {"name": self.name, "kind": self.kind, "text": self.text}
        return out | ({"schema": self.schema} if self.schema else {})


class _Folder(msgspec.Struct):
    uri: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as an operation puts it; `form` is the class of the answer, of flat fields (never for secrets)."""

    name: str
    text: str
    form: type[BaseModel] | None = None
    kind: Kind = "form"
    most: int = 1000

    def question(self, wrong: str = "") -> Question:
        """Give it as it is told, with what was wrong with an earlier answer."""
        text = f"{wrong}\n\n{self.text}" if wrong else self.text
        if self.form is None:
            return Question(self.name, self.kind, text, most=self.most if self.kind == "model" else 0)
        whole = self.form.model_json_schema()
        return Question(self.name, self.kind, text, {key: whole[key] for key in _FORM if key in whole})

    def taken(self, answer: Any) -> Any:
        """Give an answer checked: a form, a text, or `[{"uri": …}]`; None is a refusal. Raises `ValueError`."""
        if answer is None:
            return None
        if self.kind == "form":
            assert self.form is not None
            try:
                return self.form.model_validate(answer)
            except ValidationError as bad:
                first = bad.errors(include_url=False, include_context=False, include_input=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                raise ValueError(f"The answer did not fit: {place}: {first['msg']}.") from None
        if self.kind == "model":
            if not isinstance(answer, str):
                raise ValueError("The answer has to be a text.")
            return answer
        try:
            return [{"uri": one.uri, "name": one.name} for one in msgspec.convert(answer, list[_Folder])]
        except msgspec.ValidationError:
            raise ValueError("The answer has to be a list of folders, each with its `uri`.") from None
