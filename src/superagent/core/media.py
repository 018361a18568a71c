"""Media: outputs that are shown and not only read: pictures, sound, documents, and the messages of a conversation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.core.operation import Input, Output

Base64 = Annotated[str, Field(description="base64")]


class Text(Input):
    """A text."""

    type: Literal["text"] = "text"
    text: str


class Picture(Input):
    """A picture, such as `image/png`."""

    type: Literal["image"] = "image"
    data: Base64
    mime_type: str


class Sound(Input):
    """A sound, such as `audio/wav`."""

    type: Literal["audio"] = "audio"
    data: Base64
    mime_type: str


class Document(Input):
    """A document with its address: `text`, or else `data`."""

    type: Literal["document"] = "document"
    uri: str
    mime_type: str
    text: str | None = None
    data: Base64 | None = None


Block = Annotated[Text | Picture | Sound | Document, Field(discriminator="type")]


class Media(Output):
    """An output that is shown, in this order."""

    content: list[Block]


class Message(Input):
    """One message of a conversation."""

    role: Literal["user", "assistant"] = "user"
    content: Block


class Messages(Output):
    """How a conversation begins: what prompts give."""

    messages: list[Message]
