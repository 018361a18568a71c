"""Blocks: what an operation shows, in the protocol's words."""

from __future__ import annotations

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    TextResourceContents,
)

from superagent.core.media import Block, Document, Media, Messages, Picture, Text


def block_of(block: Block) -> ContentBlock:
    """Give a block of a tool's result or of a message."""
    if isinstance(block, Text):
        return TextContent(type="text", text=block.text)
    if isinstance(block, Picture):
        return ImageContent(type="image", data=block.data, mime_type=block.mime_type)
    if isinstance(block, Document):
        return EmbeddedResource(type="resource", resource=_document(block, block.uri))
    return AudioContent(type="audio", data=block.data, mime_type=block.mime_type)


def shown_of(output: bytes) -> list[ContentBlock]:
    """Give the blocks of an output that is `Media`."""
    return [block_of(one) for one in Media.model_validate_json(output).content]


def messages_of(output: bytes) -> list[PromptMessage]:
    """Give the messages of an output that is `Messages`."""
    told = Messages.model_validate_json(output).messages
    return [PromptMessage(role=one.role, content=block_of(one.content)) for one in told]


def contents_of(output: bytes, uri: str) -> list[TextResourceContents | BlobResourceContents]:
    """Give an output that is `Media` as the contents of the resource that was read."""
    return [_contents(one, uri) for one in Media.model_validate_json(output).content]


def _contents(block: Block, uri: str) -> TextResourceContents | BlobResourceContents:
    if isinstance(block, Document):
        return _document(block, uri)
    if isinstance(block, Text):
        return TextResourceContents(uri=uri, mime_type="text/plain", text=block.text)
    return BlobResourceContents(uri=uri, mime_type=block.mime_type, blob=block.data)


def _document(block: Document, uri: str) -> TextResourceContents | BlobResourceContents:
    if block.data is not None:
        return BlobResourceContents(uri=uri, mime_type=block.mime_type, blob=block.data)
    return TextResourceContents(uri=uri, mime_type=block.mime_type, text=block.text or "")
