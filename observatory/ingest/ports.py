"""What the ingest needs of the store."""

from typing import Protocol

from observatory.core.batch import Batch, SourceRow, StoredRecord
from observatory.core.events import Event
from observatory.ingest.ledger import Lookup


class Archive(Lookup, Protocol):
    """Look-ups by key, and what must be known at the start. was_clean: the last process ended in order."""

    machine_id: str
    was_clean: bool

    def sources(self) -> list[SourceRow]: ...
    def scanned_roots(self) -> set[str]: ...
    def project_ids(self) -> set[str]: ...
    def new_source_id(self) -> int: ...
    def holds_elsewhere(self, copy_key: int, source_id: int) -> bool: ...
    def waiting(self, source_id: int) -> list[StoredRecord]: ...
    def ahead(self, source: SourceRow) -> list[StoredRecord]: ...
    def digests(self, source_id: int) -> list[int]: ...


class Commits(Protocol):
    """One transaction at a time."""

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit; raises StoreError, and then nothing is stored."""
        ...
