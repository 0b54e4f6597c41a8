"""Collects what the machine allows and who uses it. What /proc does not tell is left out, not guessed."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from observatory.core.check_host import InotifyFacts, PortFacts

PROC = Path("/proc")
INOTIFY = "sys/fs/inotify"
INOTIFY_LINK = "anon_inode:inotify"
LISTENS = "0A"  # the state in /proc/net/tcp


def inotify(without_pid: int | None = None, proc: Path = PROC) -> InotifyFacts | None:
    """This user's inotify limits, and what its processes have taken, but the one of `without_pid`."""
    limits = [
        _number(proc / INOTIFY / name) for name in ("max_user_watches", "max_user_instances", "max_queued_events")
    ]
    watches, instances, queued = limits
    if watches is None or instances is None or queued is None:
        return None
    taken = [_watches(link) for pid, link in _descriptors(proc, INOTIFY_LINK) if pid != without_pid]
    return InotifyFacts(watches, instances, queued, sum(taken), len(taken))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _watches(link: Path) -> int:
    try:
        return (link.parents[1] / "fdinfo" / link.name).read_text().count("inotify wd:")
    except OSError:
        return 0


def _descriptors(proc: Path, target: str) -> Iterator[tuple[int, Path]]:
    """Descriptors of this user's processes that lead to `target`."""
    user = os.geteuid()
    for process in proc.glob("[0-9]*"):
        try:
            if process.stat().st_uid != user:
                continue
            links = list((process / "fd").iterdir())
        except OSError:
            continue  # ended, or not ours to look into
        for link in links:
            with suppress(OSError):
                if os.readlink(link) == target:
                    yield int(process.name), link


def port(host: str, number: int, server_url: str | None) -> PortFacts:
    """Whether the port is free: asked by opening it, for a moment, as the server does."""
    if number == 0:
        return PortFacts(host, number)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        ours = server_url is not None and f":{number}/" in server_url
        taken = error.errno == errno.EADDRINUSE
        why = "is taken" if taken else f"cannot be opened: {error.strerror or error}"
        return PortFacts(host, number, why, owner(number) if taken and not ours else None, taken and ours)
    return PortFacts(host, number)


def owner(number: int, proc: Path = PROC) -> str | None:
    """The program that listens on a port, if this user may know."""
    for inode in _listeners(number, proc):
        for pid, _ in _descriptors(proc, f"socket:[{inode}]"):
            with suppress(OSError):
                return f"{(proc / str(pid) / 'comm').read_text().strip()} (pid {pid})"
    return None


def _listeners(number: int, proc: Path) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == number:
                yield fields[9]
