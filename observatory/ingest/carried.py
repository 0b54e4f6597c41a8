"""One transaction on its way from the file to the clients: read, then committed, then published."""

import time

import attrs

from actors.commands import Publish, Routed
from observatory.core.batch import Batch
from observatory.core.events import Event, text_frame


@attrs.frozen
class Journey:
    """Monotonic stamps of one transaction's way, in ns, and how many records travel."""

    detected_ns: int
    read_ns: int
    committed_ns: int
    records: int


@attrs.define
class Carried:
    """One transaction on its way: read, then committed, then published.

    together: the books belong to it. events: None until it is committed; publish: None until then, or without events.
    """

    batch: Batch
    detected_ns: int = attrs.field(factory=time.monotonic_ns)
    read_ns: int = 0
    records: int = 0
    together: bool = False
    events: tuple[Event, ...] | None = None
    publish: Publish[str] | None = None

    def commit(self, events: tuple[Event, ...]) -> None:
        """The batch is stored as these events."""
        self.events = events
        if events:
            routed = tuple([Routed(event.seq, event.topics, text_frame(event.payload)) for event in events])
            journey = Journey(self.detected_ns, self.read_ns, time.monotonic_ns(), self.records)
            self.publish = Publish(routed, journey if self.records else None)
