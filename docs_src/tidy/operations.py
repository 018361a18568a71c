"""Tidy: sort the lines of a file, as one change that can be taken back."""

from superagent.sdk import Context, Output, Plugin, Preview, Risk, WritePath, put_back

tidy = Plugin("tidy")


class Sorted(Output):
    lines: int


@tidy.operation(risk=Risk.MEDIUM, undo=put_back)
async def sort(ctx: Context, path: WritePath) -> Sorted:
    """Sort the lines of a text file."""
    text = await ctx.call("files.read", {"path": path})
    lines = sorted(text["content"].splitlines())
    await ctx.call("files.write", {"path": path, "content": "\n".join(lines) + "\n"})
    return Sorted(lines=len(lines))


@sort.preview
async def _(ctx: Context, path: WritePath) -> Preview:
    text = await ctx.call("files.read", {"path": path})
    after = "\n".join(sorted(text["content"].splitlines())) + "\n"
    would = await ctx.call("files.write", {"path": path, "content": after})  # of a dry run this is one as well
    return Preview(summary=f"would sort {path}", changes=[path], diff=would["diff"])
