"""Opening the data directory: one writer, schema, epoch; every obstacle ends in one line that says what to do."""

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import attrs

from observatory.core.errors import StoreBusy, StoreError
from observatory.storage.migrations import MIGRATIONS, SCHEMA_VERSION

DATABASE = "observatory.db"
LOCK = "server.json"  # held by flock while a process writes the directory; holds its pid and URL
START_PATIENCE = 5.0  # seconds to wait at the start for another program's lock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CURES = {
    sqlite3.SQLITE_BUSY: ("is locked by another program", "close the program that has it open, then start again"),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", "close the program that has it open, then start again"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "free some space, or choose another disk with --data-dir"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make it writable for this user, or choose another with --data-dir"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check owner and permissions, or choose another with --data-dir"),
    sqlite3.SQLITE_PERM: ("may not be opened", "check owner and permissions, or choose another with --data-dir"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk, or choose another with --data-dir"),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "stop the server and save what can be read: observatory doctor --rebuild",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is no database",
        "move it aside and start again: what the transcripts still hold is read anew",
    ),
}
PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
                     sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})  # fmt: skip


@attrs.frozen
class Running:
    """The process that writes the data directory; `url` is None until it listens. certificate: its file, with TLS."""

    pid: int
    url: str | None
    certificate: str | None = None


class AlreadyServed(StoreError):
    """Another process writes this data directory."""

    running: Running


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """A database error as one line with its cure."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what, cure = _CURES.get(code, (f"failed ({error})", "see docs/operations.md, The data directory"))
    kind = StoreBusy if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else StoreError
    return kind(f"{path} {what}", cure, code in PASSING)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn database errors into StoreErrors; an OSError is of opening the file, and passes (no descriptor is left)."""
    try:
        yield
    except OSError as error:
        cure = "check its owner, its permissions and the limit of open files"
        raise StoreError(f"{path} cannot be opened ({error.strerror})", cure, retryable=True) from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


def running(directory: Path) -> Running | None:
    """The process that writes the directory now, if there is one."""
    try:
        with (directory / LOCK).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                data = json.loads(file.read() or "{}")
                return Running(data.get("pid", 0), data.get("url"), data.get("certificate"))
    except (OSError, ValueError):
        return None
    return None


def boot_id() -> str | None:
    """Tells one start of the machine from the next; None when the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None


class DirectoryLock:
    """Held while this process writes the directory; released by the kernel when the process ends."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            what = f"the data directory {directory} cannot be written ({error.strerror})"
            raise StoreError(what, "make it writable for this user, or choose another with --data-dir") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            other = running(directory) or Running(0, None)
            where = other.url or "an address it has not told yet"
            refusal = AlreadyServed(f"already running at {where} (pid {other.pid}) on {directory}",
                                    "use that one, or start another with its own --data-dir")  # fmt: skip
            refusal.running = other
            raise refusal from None
        self.announce(None)

    def announce(self, url: str | None, certificate: str | None = None) -> None:
        """Tell other processes where this one listens, and by which file's certificate they know it."""
        os.ftruncate(self._file, 0)
        told = {"pid": os.getpid(), "url": url, **({} if certificate is None else {"certificate": certificate})}
        os.pwrite(self._file, json.dumps(told).encode(), 0)

    def release(self) -> None:
        """Let another process have the directory."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; it never waits for a lock unless told to."""
    if not read_only:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=0)


def open_writer(path: Path, boot_id: str | None) -> sqlite3.Connection:
    """The writing connection, with the schema of this version and the right epoch. Raises StoreError."""
    wal_gone = path.exists() and not path.with_name(f"{path.name}-wal").exists()  # before we make one
    try:
        db = connect(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened ({error.strerror})", "make it writable for this user") from None
    try:
        with explained(path):
            db.execute(f"PRAGMA busy_timeout={round(START_PATIENCE * 1000)}")
            check_version(db, path)
            db.execute("PRAGMA journal_mode=WAL")
            settle(db)
            db.execute("PRAGMA cache_size=-8000")
            _migrate(db)
            _settle_epoch(db, boot_id, wal_gone)
            db.execute("PRAGMA busy_timeout=0")
    except BaseException:
        db.close()
        raise
    return db


def settle(db: sqlite3.Connection) -> None:
    """How a connection writes: no sync at a commit, and checkpoints are left to the Committer."""
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA wal_autocheckpoint=0")


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError when a newer program has written the database."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        what = f"{path} was written by a newer Observatory (schema {version}, this one knows {SCHEMA_VERSION})"
        raise StoreError(what, "upgrade this installation, or choose another with --data-dir")


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date, in one transaction, so that a kill leaves the old one or the new one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        steps = [MIGRATIONS[v] for v in range(version, SCHEMA_VERSION)] if version else [_schema()]
        for step in steps:
            for statement in step.split(";\n"):
                db.execute(statement)
        if not version:
            db.execute("INSERT INTO meta VALUES ('machine_id', ?)", (secrets.token_hex(8),))
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _schema() -> str:
    text = resources.files("observatory.storage").joinpath("schema.sql").read_text()
    return "\n".join(line.partition("--")[0].rstrip() for line in text.splitlines()).strip().removesuffix(";")


def _settle_epoch(db: sqlite3.Connection, boot_id: str | None, wal_gone: bool) -> None:
    """Keep the epoch over restarts; draw a new one when the last commits may be lost: by a power loss, or with the
    write-ahead file, which only an end in order removes."""
    meta = dict(db.execute("SELECT key, value FROM meta"))
    lost = meta.get("clean") == "0" and (wal_gone or boot_id is None or meta.get("boot_id") != boot_id)
    db.execute("BEGIN IMMEDIATE")
    if "epoch" not in meta or lost:
        (head,) = db.execute("SELECT max(coalesce(max(seq), 0), ?) FROM events", (int(meta.get("head", 0)),)).fetchone()
        db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (secrets.token_hex(6),))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(head),))
        db.execute("DELETE FROM events")  # their frames name the old epoch; nobody can resume from there
    rows = [("clean", "0"), ("boot_id", boot_id or "")]
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
    db.execute("COMMIT")
