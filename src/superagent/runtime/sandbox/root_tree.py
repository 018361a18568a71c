"""The root tree: the few files and links besides `/usr` that programs need to see, prepared once in a folder.

Each thing that bubblewrap mounts costs as much as starting a small program, so all that does not change from run to run
lies in one folder that becomes `/` in one step, read-only.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from superagent.runtime.instance_lock import started

USER, GROUP = 1000, 1000
TOP_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
EMPTY = ("dev", "home", "opt", "proc", "run", "tmp", "usr", "var/tmp", "workspace")

# what programs look for in /etc and what tells nothing of this machine's people, secrets or services
COPIED = (
    "alternatives", "ca-certificates.conf", "crypto-policies", "debian_version", "fonts", "gai.conf", "group.conf",
    "inputrc", "java", "java-17-openjdk", "java-21-openjdk", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "locale.alias", "locale.conf", "lsb-release", "magic", "magic.mime", "mailcap", "mime.types", "npmrc",
    "os-release", "pki/ca-trust/extracted", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols",
    "python3", "python3.11", "python3.12", "python3.13", "redhat-release", "rpc", "services", "ssl/cert.pem",
    "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip
WRITTEN = {
    "passwd": f"root:x:0:0:root:/:/bin/false\nsandbox:x:{USER}:{GROUP}:sandbox:/tmp:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": f"root:x:0:\nsandbox:x:{GROUP}:\nnogroup:x:65534:\n",
    "hostname": "sandbox\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "resolv.conf": "",
    "shells": "/bin/sh\n/bin/bash\n",
}
MOST_COPIED = 64 * 1024 * 1024
MOST_KEPT = 4
RECENT_S = 1.0
"""How long a look at this machine's `/etc` is good for: looking at a hundred files takes its time."""

State = tuple[tuple[int, int, int] | None, ...]
"""Of each place its mode, when it was changed and its size, None where there is nothing."""


@dataclass(frozen=True, slots=True)
class RootTree:
    """A prepared root: its folder, and what of the host must be mounted over it: (host, inside)."""

    folder: Path
    mounted: tuple[tuple[str, str], ...]


class RootTrees:
    """Root trees in a folder of their own, one for each state of this machine's `/etc`; the oldest are removed.

    `places` are further absolute paths that something will be mounted at.
    """

    def __init__(self, folder: Path, places: tuple[str, ...] = (), host: Path = Path("/")) -> None:
        self._folder = folder
        self._places = places
        self._host = host
        self._lock = threading.Lock()
        self._seen = tuple(str(host / place) for place in (*(f"etc/{name}" for name in COPIED), *TOP_LINKS))
        self._known: tuple[State, RootTree] | None = None
        self._looked = -math.inf

    def recent(self) -> RootTree | None:
        """Give the tree if this machine is as it was when it was made, else None: then `current` makes another.

        It only looks, which takes less than handing that to a thread.
        """
        known = self._known
        if known is None:
            return None
        now = time.monotonic()
        if now - self._looked >= RECENT_S:
            if not self._stands(known[0]):
                return None
            self._looked = now
        return known[1]

    def current(self) -> RootTree:
        """Give the tree for this machine as it is now; blocks while one is made. Raises `OSError`.

        What was installed since is noticed by the times of the folders and files that are copied.
        """
        with self._lock:
            looked, state = time.monotonic(), self._state()
            if self._known is None or self._known[0] != state:
                self._known = state, self._prepared(self._name(state))
            self._looked = looked
            return self._known[1]

    def _state(self) -> State:
        found: list[tuple[int, int, int] | None] = []
        for place in self._seen:
            try:
                one = os.lstat(place)
            except OSError:
                found.append(None)
            else:
                found.append((one.st_mode, one.st_mtime_ns, one.st_size))
        return tuple(found)

    def _stands(self, state: State) -> bool:
        """Tell whether all is still so; for what is not there, without the price of an error."""
        for place, was in zip(self._seen, state, strict=True):
            try:
                if was is None:
                    if os.access(place, os.F_OK, follow_symlinks=False):
                        return False
                    continue
                now = os.lstat(place)
            except OSError:
                return False
            if (now.st_mode, now.st_mtime_ns, now.st_size) != was:
                return False
        return True

    def _name(self, state: State) -> str:
        named = repr((sorted(WRITTEN.items()), self._places, COPIED, TOP_LINKS, state))
        return hashlib.sha256(named.encode()).hexdigest()[:24]

    def _prepared(self, name: str) -> RootTree:
        mounted = [("/usr", "/usr")]
        for one in TOP_LINKS:
            place = self._host / one
            if place.is_dir() and not place.is_symlink():
                mounted.append((str(place), f"/{one}"))
        place = self._folder / name
        if not place.exists():
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = self._folder / f".{name}-{os.getpid()}"
            shutil.rmtree(fresh, ignore_errors=True)
            self._build(fresh, [*self._places, *(inside for _, inside in mounted)])
            with contextlib.suppress(OSError):  # another worker was quicker, with the same result
                os.rename(fresh, place)
            shutil.rmtree(fresh, ignore_errors=True)
            self._prune()
        return RootTree(place, tuple(mounted))

    def _prune(self) -> None:
        """Remove what crashes left half done, and all but the newest few: commands may still run on those."""
        whole: list[Path] = []
        for one in self._folder.iterdir():
            if not one.name.startswith("."):
                whole.append(one)
            elif started(int(one.name.rpartition("-")[2])) < 0:
                shutil.rmtree(one, ignore_errors=True)
        for old in sorted(whole, key=lambda one: one.stat().st_mtime_ns)[:-MOST_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _build(self, place: Path, mounted: list[str]) -> None:
        for name in EMPTY:
            (place / name).mkdir(parents=True, exist_ok=True)
        for inside in mounted:
            (place / inside[1:]).mkdir(parents=True, exist_ok=True)
        for name in TOP_LINKS:
            if (self._host / name).is_symlink():
                os.symlink(os.readlink(self._host / name), place / name)
        (place / "etc").mkdir(exist_ok=True)
        for name in COPIED:
            _copy(self._host / "etc" / name, place / "etc" / name)
        for name, text in WRITTEN.items():
            (place / "etc" / name).write_text(text, "ascii")
        os.symlink("/proc/mounts", place / "etc" / "mtab")
        for path in _walk(place):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)


def _copy(source: Path, target: Path) -> None:
    """Copy what everybody may read; a link that leads elsewhere in `/etc` is copied as what it leads to."""
    try:
        found = os.lstat(source)
        if stat.S_ISLNK(found.st_mode):
            leads = os.readlink(source)
            if os.path.normpath(os.path.join("/etc", leads)).startswith("/usr/"):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(leads, target)
                return
            found = os.stat(source)
        if stat.S_ISDIR(found.st_mode):
            target.mkdir(parents=True, exist_ok=True)
            for name in os.listdir(source):
                _copy(source / name, target / name)
        elif stat.S_ISREG(found.st_mode) and found.st_mode & 0o004 and found.st_size <= MOST_COPIED:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError:
        return  # it is not there, or not for this user: programs inside do without it


def _walk(place: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(place):
        yield Path(folder)
        yield from (Path(folder) / name for name in [*folders, *files])
