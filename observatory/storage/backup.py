"""A copy of the archive while it is in use, and back from it.

The copy has no events: whoever resumes there is told that the log is another one. It says so itself: its first start
finds that it was not closed in order, and draws a new epoch.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from observatory.core.errors import StoreError, UsageError
from observatory.storage.accounting import READ_PATIENCE_MS
from observatory.storage.migrations import SCHEMA_VERSION
from observatory.storage.opening import DATABASE, DirectoryLock, connect, explained
from observatory.storage.search_steps import drop

Show = Callable[[str], None]  # what is being done


def backup(directory: Path, target: Path, show: Show, *, force: bool) -> int:
    """Write a copy; returns its bytes. Raises UsageError, StoreError; then there is none, and an older one stays."""
    source = directory / DATABASE
    if not source.is_file():
        raise StoreError(f"there is no archive in {directory}", "start a server first, or name another with --data-dir")
    if target.is_dir():
        raise UsageError(f"{target} is a directory; name a file in it")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; overwrite it with --force")
    if target.exists() and source.exists() and os.path.samefile(target, source):
        raise UsageError(f"{target} is the archive itself; name another file")
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    with _whole(new, target):
        show("copying")
        _copy(source, new)
        show("leaving out what cannot be replayed from it")
        _make_new_epoch(new)
        show("checking")
        check(new)
        _sync(new)
        return new.stat().st_size


@contextmanager
def _whole(new: Path, target: Path) -> Iterator[None]:
    """A file is there when the block ends well, and nothing of it otherwise."""
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield
        new.replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written ({error.strerror})", "name another place") from None
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            new.with_name(f"{new.name}{ending}").unlink(missing_ok=True)


def _copy(source: Path, new: Path) -> None:
    """All of it as of one moment: the writer goes on, and its checkpoints wait for the end of this."""
    with explained(source), closing(connect(source, read_only=True)) as db:
        db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")
        with explained(new), closing(sqlite3.connect(new, isolation_level=None)) as copy:
            db.backup(copy)


def _make_new_epoch(new: Path) -> None:
    with explained(new), closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=OFF")  # it is synced as a whole
        (head,) = db.execute("SELECT max(seq) FROM events").fetchone()
        if head is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(head),))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")
        db.execute("DELETE FROM events")
        db.execute("VACUUM")
        db.execute("PRAGMA journal_mode=WAL")  # as whoever reads it expects


def check(path: Path) -> None:
    """Raises StoreError: it is no archive, a newer one, or damaged."""
    with explained(path), closing(_at_rest(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not version or not {"meta", "records", "sources"} <= tables:
            raise StoreError(f"{path} is no archive of Observatory", "name a file that observatory backup has written")
        if version > SCHEMA_VERSION:
            what = f"{path} is of a newer Observatory (schema {version}, this one knows {SCHEMA_VERSION})"
            raise StoreError(what, "upgrade this installation")
        (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StoreError(f"{path} is damaged ({str(said)[:80]})", "use an older one, or observatory doctor --rebuild")


def _at_rest(path: Path) -> sqlite3.Connection:
    """A connection that leaves no file beside it, as nobody writes it."""
    if path.with_name(f"{path.name}-wal").exists():
        return connect(path, read_only=True)
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def restore(file: Path, directory: Path, aside: str, *, force: bool) -> Path | None:
    """Put a copy in the archive's place; returns where the archive that was there is now.

    Raises: AlreadyServed. UsageError: an archive is there. StoreError.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    check(file)
    lock = DirectoryLock(directory)
    try:
        target, moved = directory / DATABASE, None
        if target.exists():
            if not force:
                raise UsageError(f"an archive is in {directory} already; move it aside with --force")
            moved = directory / f"{DATABASE}.{aside}"
        new = directory / f".{DATABASE}.new"
        with _whole(new, target):
            shutil.copyfile(file, new)
            _sync(new)
            for ending in ("-wal", "-shm", "") if moved is not None else ():
                old = directory / f"{DATABASE}{ending}"
                if moved is not None and old.exists():
                    old.replace(directory / f"{moved.name}{ending}")
        drop(directory)
        return moved
    finally:
        lock.release()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
