"""What the ingest needs of the store."""

from typing import Protocol

from observatory.core.batch import Batch, SourceRow
from observatory.core.events import Event
from observatory.ingest.ledger import Lookup


class Archive(Lookup, Protocol):
    """Point look-ups, and what must be known at the start."""

    machine_id: str

    def sources(self) -> list[SourceRow]: ...
    def scanned_roots(self) -> set[str]: ...
    def project_ids(self) -> set[str]: ...
    def new_source_id(self) -> int: ...
    def waiting(self, source_id: int) -> list[tuple[int, int, int, bytes]]: ...
    def digests(self, source_id: int) -> list[int]: ...


class Commits(Protocol):
    """One transaction at a time."""

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit; raises StoreError, and then nothing is stored."""
        ...
