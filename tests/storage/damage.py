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
