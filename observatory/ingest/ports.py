"""What the ingest needs of the store."""

from collections.abc import Iterator
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
    def first_holder(self, copy_key: int) -> int | None: ...
    def waiting(self, source_id: int) -> list[StoredRecord]: ...
    def ahead(self, source: SourceRow) -> list[StoredRecord]: ...
    def bodies(self, source_id: int) -> Iterator[bytes]: ...


class Commits(Protocol):
    """One transaction at a time."""

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit; raises StoreError, and then nothing is stored."""
        ...
