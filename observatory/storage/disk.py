"""Sizes on the disk, and whether there is room: looked at now and then, off the hot path; it stops nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from observatory.core.contracts import Status
from observatory.core.finding import size
from observatory.core.replies import rfc3339

log = structlog.get_logger()
LOOK_EVERY = 10.0


@attrs.frozen
class Room:
    """warn_bytes: free space below which it is told; quota_bytes: of the data directory, above which. None: never."""

    warn_bytes: int | None = 1024**3
    quota_bytes: int | None = None


@attrs.frozen
class Sizes:
    """In bytes. database, wal: the archive's files; search: the index; directory: all; free: on that disk."""

    database: int = 0
    wal: int = 0
    search: int = 0
    directory: int = 0
    free: int = 0


def sizes(directory: Path) -> Sizes:
    """How large everything is. Raises OSError."""
    found: dict[str, int] = {}
    for entry in os.scandir(directory):
        try:
            found[entry.name] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    search = sum(many for name, many in found.items() if name.startswith("search.db"))
    wal = found.get("observatory.db-wal", 0)
    free = shutil.disk_usage(directory).free
    return Sizes(found.get("observatory.db", 0), wal, search, sum(found.values()), free)


def trouble(found: Sizes, room: Room) -> str | None:
    """What is wrong with the room there is, in words."""
    if room.warn_bytes is not None and found.free < room.warn_bytes:
        return f"{size(found.free)} are free on the disk of the data directory, less than {size(room.warn_bytes)}"
    if room.quota_bytes is not None and found.directory > room.quota_bytes:
        return f"the data directory takes {size(found.directory)}, more than {size(room.quota_bytes)}"
    return None


@attrs.define
class Disk:
    """`run` is the task. tell: has the health say so, and those who follow it hear of it."""

    directory: Path
    room: Room
    wall_ms: Callable[[], int]
    sizes: Sizes = Sizes()
    _trouble: str | None = None
    _since: str = ""

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            try:
                self.sizes = await trio.to_thread.run_sync(sizes, self.directory)
                self._judge(trouble(self.sizes, self.room))
            except OSError as error:
                self._judge(f"the data directory cannot be looked at ({error.strerror})")
            await trio.sleep(LOOK_EVERY)

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        found = self.sizes
        return {
            "database_bytes": found.database,
            "wal_bytes": found.wal,
            "data_dir_bytes": found.directory,
            "disk_free_bytes": found.free,
        }

    def components(self) -> list[dict[str, Any]]:
        """Its health, once it was anything but well."""
        if not self._since:
            return []
        status: Status = "ok" if self._trouble is None else "degraded"
        return [{"component_name": "disk", "status": status, "details": self._trouble, "last_checked": self._since}]

    def _judge(self, found: str | None) -> None:
        """One line when it begins and one when it ends, although the figures change in between."""
        if (found is None) != (self._trouble is None):
            self._since = rfc3339(self.wall_ms())
            if found is None:
                log.info("disk.has_room")
            else:
                log.warning("disk.short", reason=found, hint="observatory prune; --record-retention; a larger disk")
        self._trouble = found
