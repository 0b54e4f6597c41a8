"""`doctor --rebuild`: a new archive of what can be read of a damaged one; the transcripts still there give the rest."""

import os
from collections.abc import Callable
from pathlib import Path

import attrs

from observatory.core.errors import StoreError
from observatory.doctor.account import accounts
from observatory.storage.accounting import reading
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE, DirectoryLock, boot_id
from observatory.storage.salvage import DERIVED, Salvage, leave_out, salvage, short
from observatory.storage.search_steps import drop


@attrs.frozen
class Rebuilt:
    """saved: what was read. again: transcripts that the next start reads anew. lost: transcripts that are gone, and of
    which something is missing. aside: where the damaged archive is now."""

    saved: Salvage
    again: tuple[str, ...]
    lost: tuple[str, ...]
    aside: Path


def rebuild(directory: Path, aside: str, show: Callable[[str], None]) -> Rebuilt:
    """Put a new archive in the place of a damaged one. Raises: AlreadyServed. StoreError: there is none, or no room."""
    if not (directory / DATABASE).is_file():
        raise StoreError(f"there is no archive in {directory}", "name another with --data-dir")
    lock = DirectoryLock(directory)
    workshop = directory / f"rebuilt.{os.getpid()}"
    try:
        workshop.mkdir(mode=0o700)
        EventLog(workshop, boot_id()).close()
        saved = salvage(directory / DATABASE, workshop / DATABASE, show)
        show("comparing with the transcripts")
        again, lost = _holes(workshop, derived=bool(saved.damaged & DERIVED))
        leave_out(workshop / DATABASE, again)
        moved = _exchange(directory, workshop / DATABASE, aside)
        drop(directory)
        return Rebuilt(saved, tuple(again), tuple(lost), moved)
    except OSError as error:
        raise StoreError(f"{directory} cannot be written ({error.strerror})", "free some space") from None
    finally:
        _clear(workshop)
        lock.release()


def _holes(workshop: Path, *, derived: bool) -> tuple[list[str], list[str]]:
    """Transcripts to read anew, and those not all there that are gone. derived: what follows from records is lost."""
    missing = set(short(workshop / DATABASE))
    again, lost = [], []
    with reading(workshop) as archive:
        for found in accounts(archive, ()):
            if found.state == "gone":
                lost += [found.path] if found.path in missing else []
            elif derived or not found.clean or found.path in missing:
                again.append(found.path)
    return again, lost


def _exchange(directory: Path, new: Path, aside: str) -> Path:
    moved = directory / f"{DATABASE}.{aside}"
    for ending in ("-wal", "-shm", ""):
        old = directory / f"{DATABASE}{ending}"
        if old.exists():
            old.replace(directory / f"{moved.name}{ending}")
    new.replace(directory / DATABASE)
    return moved


def _clear(workshop: Path) -> None:
    if workshop.is_dir():
        for file in workshop.iterdir():
            file.unlink()
        workshop.rmdir()
