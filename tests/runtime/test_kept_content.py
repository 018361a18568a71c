"""Kept content: durable, kept once, swept by age, never in the way of another process."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from superagent.core.problems import Unavailable
from superagent.runtime.kept_content import KeptContent
from tests.ordinary_user import open_folder, ordinary_user


@pytest.fixture
def content(tmp_path: Path) -> KeptContent:
    return KeptContent(tmp_path / "blobs")


def files_in(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


def read(content: KeptContent, digest: str) -> bytes:
    with open(content.open(digest), "rb") as file:
        return file.read()


def test_bytes_and_descriptors_come_back_under_their_digest(content: KeptContent, tmp_path: Path) -> None:
    big = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "big").write_bytes(big)
    with open(tmp_path / "big", "rb", 0) as file:
        digest = content.put(file.fileno())
        assert file.read() == b""  # it read to the end and left the descriptor open
    assert digest == hashlib.sha256(big).hexdigest()
    assert read(content, digest) == big
    assert read(content, content.put(b"")) == b""


def test_a_descriptor_is_kept_from_where_it_stands(content: KeptContent, tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"0123456789")
    with open(tmp_path / "some", "rb", 0) as file:
        file.seek(5)
        assert content.put(file.fileno()) == hashlib.sha256(b"56789").hexdigest()


def test_equal_contents_are_kept_once_and_privately(content: KeptContent, tmp_path: Path) -> None:
    assert content.put(b"same") == content.put(b"same")
    (kept,) = files_in(tmp_path / "blobs")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert kept == tmp_path / "blobs" / kept.name[:2] / hashlib.sha256(b"same").hexdigest()


def test_content_that_is_gone_is_unavailable_and_a_name_that_is_none_is_a_fault(content: KeptContent) -> None:
    with pytest.raises(Unavailable, match="no longer there"):
        content.open("0" * 64)
    for name in ("../../etc/passwd", "0" * 63, "A" * 64, "0" * 64 + "\n"):
        with pytest.raises(ValueError, match="SHA-256"):
            content.open(name)


def test_a_sweep_takes_what_is_old_and_what_a_crash_left_but_nothing_put_again(
    content: KeptContent, tmp_path: Path
) -> None:
    old, again = content.put(b"old"), content.put(b"again")
    (tmp_path / "blobs" / "new-left").write_bytes(b"half")
    for file in files_in(tmp_path / "blobs"):
        os.utime(file, (1_000, 1_000))
    content.put(b"again")
    assert content.sweep(time.time() - 3600) == 2
    assert read(content, again) == b"again"
    with pytest.raises(Unavailable):
        content.open(old)
    assert content.put(b"old") == old


def test_a_disk_that_cannot_take_it_is_named_and_nothing_is_left() -> None:
    with open_folder() as folder:
        with ordinary_user():
            content = KeptContent(folder / "blobs")
        (folder / "blobs").chmod(0o500)
        with ordinary_user(), pytest.raises(Unavailable, match=os.strerror(errno.EACCES)):
            content.put(b"x")
        (folder / "blobs").chmod(0o700)
        assert files_in(folder) == []


def test_a_sweep_never_takes_what_is_put_at_the_same_time(content: KeptContent, tmp_path: Path) -> None:
    digest = content.put(b"wanted")
    (file,) = files_in(tmp_path / "blobs")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(300):
            os.utime(file, (1_000, 1_000))
            putting, sweeping = pool.submit(content.put, b"wanted"), pool.submit(content.sweep, 2_000)
            assert putting.result() == digest
            assert sweeping.result() in (0, 1)
            assert read(content, digest) == b"wanted"


def test_what_was_put_is_there_after_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom superagent.runtime.kept_content import KeptContent\n"
        "content = KeptContent(Path(sys.argv[1]))\n"
        "while True: print(content.put(os.urandom(100_000)), flush=True)\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "blobs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(30)]
        child.kill()
        said += child.stdout.readlines()
    content = KeptContent(tmp_path / "blobs")
    for digest in (line.strip() for line in said if line.endswith("\n")):
        assert hashlib.sha256(read(content, digest)).hexdigest() == digest
    for file in files_in(tmp_path / "blobs"):  # whatever has its final name is whole
        if not file.name.startswith("new-"):
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
