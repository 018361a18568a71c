"""How a statement that reads is judged, by whichever operation runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from superagent.sdk import Context, InvalidInput

from .engine.names import Named
from .engine.session import Session
from .line import Judging, Params, working

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement that may run: the relations that it uses, and the ids of the tables among them."""

    statement: Any
    given: Params
    relations: frozenset[Named]
    tables: list[str]


async def judged(
    ctx: Context,
    session: Session,
    connection: str,
    text: str,
    given: Params | None,
    work: Callable[[Judged], T],
    *,
    otherwise: str = "",
    hint: str = "",
) -> tuple[Judged, T]:
    """Begin to read, ask the server which tables a statement uses, and do the work only if each may be read.

    All in one thread; the server is told what was judged, where it can be. `otherwise` says what is refused but a
    `SELECT`; without it, changes are looked at as well. Raises `InvalidInput`, `Denied`, `NotFound`.
    """
    values = given or {}

    def all_of_it() -> tuple[Judged, T]:
        statement = session.known(text)
        if otherwise and statement.kind != "select":
            raise InvalidInput(otherwise, hint=hint)
        fits(statement.names, values)
        session.begin(writes=False)
        may = Judging(ctx, connection, statement.named)
        relations = session.relations(statement, values, may)
        read = Judged(statement, values, relations, may(relations))
        session.permit(statement, relations)
        return read, work(read)

    return await working(ctx, session, all_of_it)


def fits(names: frozenset[str], given: Params) -> None:
    """Check that the values are those that the statement names. Raises `InvalidInput`."""
    if names != given.keys():
        lacking, left = sorted(names - given.keys()), sorted(given.keys() - names)
        said = f"no value for {', '.join(lacking)}" if lacking else f"nothing takes {', '.join(left)}"
        raise InvalidInput(f"the parameters do not fit: {said}", hint="write `:name` in the statement for each of them")
