"""Collects the state of a data directory, without touching it."""

import os
import shutil
import stat
from pathlib import Path

import attrs

from observatory.core.check_store import DatabaseFacts, Owned, StoreFacts
from observatory.core.errors import StoreError
from observatory.doctor.walk import existing
from observatory.storage.accounting import LogState, reading
from observatory.storage.opening import DATABASE, LOCK

FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK)


def store(directory: Path, boot_id: str | None, *, deep: bool) -> StoreFacts:
    """Everything about it. deep: have SQLite check the whole database."""
    room = shutil.disk_usage(existing(directory)).free
    if not directory.is_dir():
        return StoreFacts(str(directory), False, os.geteuid(), room)
    owned = [_owned(path) for path in (directory, *(directory / name for name in FILES)) if path.exists()]
    database = _database(directory, boot_id, deep=deep) if (directory / DATABASE).exists() else None
    return StoreFacts(str(directory), True, os.geteuid(), room, tuple(owned), database)


def _owned(path: Path) -> Owned:
    found = path.stat()
    return Owned(str(path), found.st_uid, stat.S_IMODE(found.st_mode))


def _database(directory: Path, boot_id: str | None, *, deep: bool) -> DatabaseFacts:
    wal = directory / f"{DATABASE}-wal"
    sizes = DatabaseFacts((directory / DATABASE).stat().st_size, wal.stat().st_size if wal.exists() else 0)
    try:
        with reading(directory) as archive:
            facts = _described(sizes, archive.state(), boot_id)
            return attrs.evolve(facts, checked=True, damage=archive.damage()) if deep else facts
    except StoreError as error:
        return attrs.evolve(sizes, error=error.message, cure=error.hint)


def _described(sizes: DatabaseFacts, state: LogState, boot_id: str | None) -> DatabaseFacts:
    return attrs.evolve(
        sizes,
        schema=state.schema,
        epoch=state.epoch,
        head=state.head,
        oldest=state.oldest,
        clean=state.clean,
        boot_changed=boot_id is None or state.boot_id != boot_id,
        sources=state.sources,
        unrecognised=state.unrecognised,
        example=state.example,
    )
