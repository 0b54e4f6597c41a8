"""Which directories this process really watches: the kernel's own list. Linux only, elsewhere nothing is known."""

import os
from contextlib import suppress

import attrs

PROC = "/proc"
LIMITS = ("sys/fs/inotify/max_user_watches", "sys/user/max_inotify_watches")


@attrs.frozen
class Watches:
    """What the kernel lists. Inodes only: its device numbers are not always those that `stat` tells."""

    inodes: frozenset[int]
    limits: tuple[str, ...] = ()


def read_watches(proc: str = PROC) -> Watches | None:
    """The inodes under an inotify watch of this process, and the limits now. None: the system does not tell."""
    inodes, instances = set[int](), 0
    try:
        descriptors = os.listdir(f"{proc}/self/fd")
    except OSError:
        return None
    for descriptor in descriptors:
        with suppress(OSError):  # closed since it was listed
            if os.readlink(f"{proc}/self/fd/{descriptor}") == "anon_inode:inotify":
                instances += 1
                inodes |= _read_inodes(f"{proc}/self/fdinfo/{descriptor}")
    return Watches(frozenset(inodes), tuple(_read(f"{proc}/{name}") for name in LIMITS)) if instances else None


def _read_inodes(path: str) -> set[int]:
    return {int(line.split(" ", 3)[2][4:], 16) for line in _read(path).splitlines() if line.startswith("inotify wd:")}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
