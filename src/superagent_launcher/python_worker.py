"""The program of a Python session: it runs snippets one after the other in one namespace, and says what came of each.

It runs inside, by the sandbox's own Python (3.8 or newer) and nothing but the standard library:

    python3 python_worker.py DESCRIPTOR

Over the Unix socket DESCRIPTOR come messages, each a length of four bytes, a name, NUL and the code. Each is answered
by a length and JSON, `{"id", "value", "error"}`: the name, what the last expression was (`repr`, `type`, `json` where
it is plain data, `mime` for what it can show itself as), or which exception ended it. A message of no length says that
one is about to come, and is not answered. SIGINT ends the snippet and not the session.
"""

# the names of `signal` are made anew at each call; those beneath it are plain numbers
# pyright: reportMissingImports=false, reportUnknownMemberType=false
import _signal
import ast
import base64
import builtins
import contextlib
import json
import linecache
import os
import socket
import sys
import traceback
import types
from typing import Any, cast

MOST_TEXT = 65_536
MOST_SHOWN = 8 * 1024 * 1024
MOST_FRAMES = 50
MOST_KINDS = 32
MOST_ANSWER = 16 * 1024 * 1024
TOO_LARGE = "the value takes too much to be shown; it is in `_`"
UNSHOWN = "(the exception cannot be shown)"
_LARGE = 2**63
_CHUNK = 65_536
_STREAMS = sys.stdout, sys.stderr  # whatever a snippet puts in their place
_INTERRUPT = (cast("int", _signal.SIGINT),)
_PLAIN = frozenset({bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset})
# `json.dumps` makes such a thing at each call; other Pythons than the usual one have none
_make: Any = getattr(json.encoder, "c_make_encoder", None)
_chunks: Any = _make and _make(None, None, json.encoder.encode_basestring, None, ":", ",", False, False, False)
SHOWS = {
    "image/png": "_repr_png_", "image/jpeg": "_repr_jpeg_", "image/svg+xml": "_repr_svg_", "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_", "text/latex": "_repr_latex_", "application/json": "_repr_json_",
}  # fmt: skip


def receive(sock: socket.socket, held: bytearray) -> "tuple[str, str]":
    """Wait for a message; `held` is what came beyond the last one. Raises `EOFError` when none will come."""
    while True:
        try:
            if len(held) >= 4:
                size = int.from_bytes(held[:4], "big")
                if len(held) >= 4 + size:
                    name, _, code = held[4 : 4 + size].decode().partition("\0")
                    del held[: 4 + size]
                    if size:
                        return name, code
                    _rehearse()
                    continue
            more = sock.recv(_CHUNK)
            if not more:
                raise EOFError
            if not held and len(more) == 4 + int.from_bytes(more[:4], "big") > 4:  # mostly it comes whole and alone
                name, _, code = more[4:].decode().partition("\0")
                return name, code
            held += more
        except KeyboardInterrupt:
            continue  # it was meant for a snippet that had just ended


def _rehearse() -> None:
    """Do what most snippets take, to no effect: what was not used for a moment takes twenty times as long."""
    with contextlib.suppress(BaseException):  # a snippet may have set a hook that raises
        hold_interrupts()  # as they are
        value_of(eval(compile("1 + 1", "<rehearsal>", "eval"), {}))  # noqa: S307
        _flush(_STREAMS)


def send(sock: socket.socket, name: str, value: str, error: str) -> None:
    """Send an answer whole: to whom, in letters and digits, and two texts in JSON."""
    data = f'{{"id":"{name}","value":{value},"error":{error}}}'.encode("utf-8", "replace")
    if len(data) > MOST_ANSWER:
        return send(sock, name, "null", text_of(_told("ValueError", TOO_LARGE)))
    sock.sendall(len(data).to_bytes(4, "big") + data)


def text_of(message: "dict[str, object]") -> str:
    """Give a message as JSON; halves of characters in it are replaced when it is sent."""
    return "".join(_chunks(message, 0)) if _chunks else json.dumps(message, ensure_ascii=False)


def hold_interrupts() -> None:
    """Let no interrupt come from now on; one that is on its way is dropped."""
    while True:
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _INTERRUPT)
            return
        except KeyboardInterrupt:
            continue


def let_interrupts_in() -> None:
    """Let interrupts come, but none that was meant for what has ended."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:  # a snippet's own is not to hear of it
        while _signal.SIGINT in _signal.sigpending():
            _signal.sigwait(_INTERRUPT)
    try:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _INTERRUPT)
    except KeyboardInterrupt:
        return


def run(code: str, name: str, space: "dict[str, object]") -> object:
    """Run a snippet and give the value of its last expression, None when it ends with something else."""
    whole = _expression(code, name)
    linecache.cache[name] = (len(code), None, [code] if whole else code.splitlines(keepends=True), name)
    if whole is not None:
        return eval(whole, space)  # noqa: S307 - that is what it is for
    tree = ast.parse(code, name)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, name, "exec"), space)  # noqa: S102
        return None
    tree.body.pop()
    exec(compile(tree, name, "exec"), space)  # noqa: S102
    return eval(compile(ast.Expression(last.value), name, "eval"), space)  # noqa: S307


def _expression(code: str, name: str) -> "types.CodeType | None":
    """Compile a line that is one expression, which needs no tree of it; None for anything else."""
    if "\n" in code or code[:1].isspace():
        return None
    try:
        return compile(code, name, "eval")
    except (SyntaxError, ValueError):
        return None  # the long way says what is wrong


def value_of(found: object) -> str:
    """Say in JSON what a value is; what of this fails is left out."""
    if found is None:
        return "null"
    if type(found) is int and -_LARGE < found < _LARGE:  # by hand, since somebody waits
        return f'{{"repr":"{found}","type":"int","mime":{{}},"json":{found}}}'
    shown: dict[str, object] = {"repr": _text(found), "type": type(found).__name__[:200], "mime": {}}
    with contextlib.suppress(Exception):
        plain = json.dumps(found, allow_nan=False, ensure_ascii=False)
        if len(plain.encode()) <= MOST_TEXT:  # which halves of characters have no bytes for
            shown["json"] = json.loads(plain)
    if type(found) not in _PLAIN:
        shown["mime"] = mime_of(found)
    return text_of(shown)


def mime_of(found: Any) -> "dict[str, str]":
    """Say what a value can show itself as: texts, and images as base64, by their types (as IPython asks for them)."""
    if isinstance(found, type):
        return {}
    seen: dict[str, object] = {}
    with contextlib.suppress(Exception):
        seen.update(_only(found._repr_mimebundle_()))
    for kind, method in SHOWS.items():
        with contextlib.suppress(Exception):
            seen[kind] = seen.get(kind) or _only(getattr(found, method)())
    texts: dict[str, str] = {}
    for kind, one in list(seen.items())[:MOST_KINDS]:
        with contextlib.suppress(Exception):
            text = base64.b64encode(one).decode() if isinstance(one, bytes) else one
            text = text if isinstance(text, str) else json.dumps(text, allow_nan=False)
            if one is not None and len(text) + sum(map(len, texts.values())) <= MOST_SHOWN:
                texts[str(kind)[:100]] = text
    return texts


def _only(given: Any) -> Any:
    """Give what is shown, without what may be told about it (the second of two)."""
    return cast("tuple[Any, ...]", given)[0] if isinstance(given, tuple) else given


def error_of(bad: BaseException) -> "dict[str, object]":
    """Say which exception ended a snippet, and where; one that fails at being shown is none that ends the session."""
    try:
        return _shown(bad)
    except BaseException:
        return _told("Exception", UNSHOWN)


def _told(kind: str, message: str) -> "dict[str, object]":
    return {"type": kind, "message": message, "traceback": [], "text": message}


def _shown(bad: BaseException) -> "dict[str, object]":
    """Show an exception without this program's own frames; what of it is a snippet's own may raise anything."""
    own = [os.path.abspath(one) for one in (__file__, *([ast.__file__] if isinstance(bad, SyntaxError) else []))]
    frames = [one for one in traceback.extract_tb(bad.__traceback__) if os.path.abspath(one.filename) not in own]
    try:
        message = str(bad)
    except Exception:
        message = UNSHOWN
    parts = traceback.format_list(frames) if frames else []
    words = traceback.format_exception_only(type(bad), bad)
    return {
        "type": type(bad).__name__[:200],
        "message": message[:MOST_TEXT],
        "traceback": [
            {
                "file": one.filename[:1000],
                "line": one.lineno or 0,
                "name": one.name[:200],
                "text": (one.line or "")[:1000],
            }
            for one in frames[-MOST_FRAMES:]
        ],
        "text": "".join([*(["Traceback (most recent call last):\n"] if parts else []), *parts, *words])[:MOST_TEXT],
    }


def _flush(streams: "tuple[Any, ...]") -> None:
    for stream in streams:
        try:  # noqa: SIM105 - somebody waits
            stream.flush()
        except BaseException:  # noqa: S110 - a snippet may have put anything there
            pass


def _text(found: object) -> str:
    try:
        return repr(found)[:MOST_TEXT]
    except Exception as bad:
        return f"({type(bad).__name__} in its own repr)"


def main(arguments: "list[str]") -> None:
    """Serve until nobody asks any more, or until a snippet leaves by `SystemExit`."""
    given = socket.socket(fileno=int(arguments[0]))
    sock = given.dup()  # not inheritable, and out of the way of what snippets open
    given.close()
    os.register_at_fork(after_in_child=sock.close)  # what a snippet forks is not the session, and never answers for it
    sys.argv, sys.path[0] = [""], ""
    space: dict[str, object] = {"__name__": "__main__", "__builtins__": builtins, "__doc__": None}
    count, held = 0, bytearray()
    hold_interrupts()
    while True:
        try:
            name, code = receive(sock, held)
        except EOFError:
            return
        count += bool(code)  # an empty one asks whether we are there
        value, error, leaves = "null", "null", False
        try:
            let_interrupts_in()
            found = run(code, f"<snippet {count}>", space)
            if found is not None:
                space["_"] = found
                value = value_of(found)
            hold_interrupts()
        except BaseException as bad:
            hold_interrupts()
            leaves = isinstance(bad, SystemExit)
            error = text_of(error_of(bad))
        _flush((sys.stdout, sys.stderr))
        if sock.fileno() < 0:
            os._exit(error != "null")
        send(sock, name, value, error)
        if leaves:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
