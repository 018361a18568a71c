"""What errors of the operating system mean to a caller."""

from __future__ import annotations

import errno
import os

import pytest

from superagent.core.problems import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    Overloaded,
    Problem,
    TooLarge,
    Unavailable,
)
from superagent.runtime.os_problems import NotAFile, os_errors_about, printable, problem_of


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOENT, NotFound, "does not exist"),
        (errno.ENOTDIR, NotFound, "not a directory"),
        (errno.EEXIST, Conflict, "exists already"),
        (errno.EACCES, Denied, "the operating system refused"),
        (errno.EPERM, Denied, "the operating system refused"),
        (errno.EROFS, Denied, "read-only"),
        (errno.ENOSPC, Unavailable, "disk is full"),
        (errno.EDQUOT, Unavailable, "disk is full"),
        (errno.EFBIG, TooLarge, "larger"),
        (errno.EMFILE, Overloaded, "too many files"),
        (errno.ENAMETOOLONG, InvalidInput, "longer"),
        (errno.EISDIR, Conflict, "is a directory"),
        (errno.ELOOP, Conflict, "too many links"),
        (errno.ENOTTY, Unavailable, "could not do this"),
    ],
)
def test_each_error_has_its_problem(number: int, kind: type[Problem], says: str) -> None:
    problem = problem_of(OSError(number, os.strerror(number)), "/srv/{a}", "partly")
    assert type(problem) is kind
    assert says in problem.detail
    assert problem.changed == "partly"


def test_an_error_without_a_number_is_said_to_be_unnamed() -> None:
    assert "an unnamed error" in problem_of(OSError(), "/srv/a").detail


def test_what_is_no_file_is_named_by_its_kind() -> None:
    assert (
        problem_of(NotAFile(errno.EINVAL, "a fifo"), "/srv/a").detail == "`/srv/a` is a fifo, not a file with content"
    )


def test_a_block_turns_errors_into_problems_and_keeps_their_cause() -> None:
    with pytest.raises(NotFound) as caught, os_errors_about("/srv/a"):
        os.stat("/nothing/there")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_names_that_are_not_utf8_are_shown_in_escapes() -> None:
    assert printable(os.fsdecode(b"a\xff\xc3\xa9")) == "a\\xff\u00e9"
