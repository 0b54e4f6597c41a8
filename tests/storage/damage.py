"""A page of the database as a bad disk leaves it."""

from observatory.storage.log import EventLog

PAGE_BYTES = 4096


def damage(log: EventLog, needle: bytes) -> None:
    """Overwrite the page of the file that holds the needle, behind the back of all who have it open."""
    log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = log.path.read_bytes()
    page = content.index(needle) // PAGE_BYTES
    with log.path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xaa" * PAGE_BYTES)


def kill(log: EventLog) -> None:
    """Close its files as a killed process leaves them: nothing is written any more, and the write-ahead file stays."""
    wal = log.path.with_name(f"{log.path.name}-wal")
    kept = wal.read_bytes()
    log._db.close()
    wal.write_bytes(kept)
