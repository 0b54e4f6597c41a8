"""Sizes on the disk, and whether there is room: looked at now and then, off the hot path; it stops nothing."""

import os
import shutil
from pathlib import Path

import attrs
import structlog
import trio

from observatory.core.contracts import Report
from observatory.core.finding import size

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
    """`run` is the task. report: has the health say so, and those who follow it hear of it."""

    directory: Path
    room: Room
    report: Report
    sizes: Sizes = Sizes()
    _trouble: str | None = None

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            try:
                self.sizes = await trio.to_thread.run_sync(sizes, self.directory)
                await self._judge(trouble(self.sizes, self.room))
            except OSError as error:
                await self._judge(f"the data directory cannot be looked at ({error.strerror})")
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

    async def _judge(self, found: str | None) -> None:
        """Told when it begins and when it ends, although the figures change in between."""
        before, self._trouble = self._trouble, found
        if (found is None) == (before is None):
            return
        if found is None:
            log.info("disk.has_room")
        else:
            log.warning("disk.short", reason=found, hint="observatory prune; --record-retention; a larger disk")
        await self.report("disk", "ok" if found is None else "degraded", found)
