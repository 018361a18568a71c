"""Notes: keep notes in a file, one a line."""

from superagent.sdk import Context, NotFound, Output, Plugin, Preview, Risk, WritePath, put_back

notes = Plugin("notes", reaches=("files",))


class Added(Output):
    notes: int


@notes.operation(risk=Risk.MEDIUM, undo=put_back)
async def add(ctx: Context, path: WritePath, text: str) -> Added:
    """Add a note to a file, which is made when it is not there."""
    async with ctx.changing(path):
        try:
            before = await ctx.files.read(path)
        except NotFound:
            before = b""
        after = before + f"{text}\n".encode()
        await ctx.files.write(path, after)
    return Added(notes=after.count(b"\n"))


@add.preview
async def _(ctx: Context, path: WritePath, text: str) -> Preview:
    return Preview(summary=f"would add a note to {path}", changes=[path], diff=f"+{text}\n")
