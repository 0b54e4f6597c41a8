"""Bugs put into the running code on purpose: the harness must catch each of them within a thousand seeds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from actors.commands import Decision, Place, Rejoin
from actors.router import Router
from actors.sender import Sender, Stalled
from observatory.core.batch import Batch
from observatory.core.events import Event
from observatory.server.websocket import Connection
from observatory.storage.log import EventLog
from tests.faults.ports import SimCommits

Plant = Callable[[], Any]  # a context manager


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """A method made anew from the old one, for a while."""
    old = getattr(owner, name)
    setattr(owner, name, make(old))
    try:
        yield
    finally:
        setattr(owner, name, old)


def position_past_what_did_not_fit() -> Any:
    """A client falls behind after the event it had no room for."""

    def make(old: Any) -> Any:
        def conclude(self: Router[str], command: Any, refused: list[Any], reached: bool) -> None:
            self._head = command.messages[-1].position
            old(self, command, refused, reached)

        return conclude

    return replaced(Router, "_conclude", make)


def live_without_the_tail() -> Any:
    """A client that was behind goes live without what came after its last page."""

    def make(old: Any) -> Any:
        def rejoin(self: Router[str], command: Rejoin) -> None:
            if command.client in self._topics:
                command.client.go_live()
                self._enter(command.client)
                command.on_live(self._place(command.client))

        return rejoin

    return replaced(Router, "_rejoin", make)


def page_boundary_twice() -> Any:
    """The last event of a page begins the next one too."""

    def make(old: Any) -> Any:
        async def feed(self: Sender, cursor: int) -> None:
            await old(self, cursor)
            if self.cursor is not None and self.cursor > cursor + 1 and not self._near_head:
                self.cursor -= 1

        return feed

    return replaced(Sender, "_feed", make)


def unsubscribed_at_the_head() -> Any:
    """A client that is behind gives topics up, and still gets them up to the head of that moment."""

    def make(old: Any) -> Any:
        def subscribe(self: Router[str], command: Any) -> None:
            old_topics = self._topics.get(command.client, frozenset())
            decide = command.decide

            def wrong(place: Place) -> Decision[str] | None:
                decision: Decision[str] | None = decide(place)
                if decision is not None and place.position is not None and place.position < place.head:
                    connection = decide.__self__ if hasattr(decide, "__self__") else None
                    del connection
                    _session_of(decide).topics = decision.topics | old_topics
                return decision

            old(self, attrs.evolve(command, decide=wrong))

        return subscribe

    return replaced(Router, "_subscribe", make)


def _session_of(decide: Any) -> Any:
    """The Session in the closure of a connection's `turn`."""
    for cell in decide.__closure__ or ():
        if isinstance(cell.cell_contents, Connection):
            return cell.cell_contents.session
    raise AssertionError("no connection")


def published_before_committed() -> Any:
    """The clients are told of events that are committed with the next ones."""

    def make(old: Any) -> Any:
        def append(self: SimCommits, batch: Batch) -> tuple[Event, ...]:
            log = self.log
            waiting: list[Batch] = getattr(log, "_waiting", [])
            for one in waiting:
                old(self, one)
            log._waiting = []  # type: ignore[attr-defined]
            if batch.records or not batch.drafts or batch.sources:
                return old(self, batch)  # type: ignore[no-any-return]
            log._waiting = [batch]  # type: ignore[attr-defined]
            log._db.execute("BEGIN IMMEDIATE")
            events, _ = log._insert_events(batch, self.wall_ms())
            log._db.execute("ROLLBACK")
            return events

        return append

    return replaced(SimCommits, "_append", make)


def offset_before_the_row() -> Any:
    """How far reading is, is stored before what was read."""

    def make(old: Any) -> Any:
        def append(self: SimCommits, batch: Batch) -> tuple[Event, ...]:
            kept: dict[int, Any] = getattr(self.log, "_kept", {})
            self.log._kept = {}  # type: ignore[attr-defined]
            if batch.records and not batch.sources and batch.drafts:
                old(self, Batch(sources=_advanced(self.log, batch)))
                self.points.pass_("between offset and row")
                if self.dead:
                    return ()
            batch.sources = {**kept, **batch.sources}
            return old(self, batch)  # type: ignore[no-any-return]

        return append

    return replaced(SimCommits, "_append", make)


def _advanced(log: EventLog, batch: Batch) -> dict[int, Any]:
    rows = {source.id: source for source in log.sources()}
    for record in batch.records:
        if (source := rows.get(record.source_id)) is not None:
            rows[source.id] = attrs.evolve(source, offset=record.offset + record.span, lines=record.line + 1)
    return {key: rows[key] for key in {record.source_id for record in batch.records} if key in rows}


def close_frame_after_a_cut_frame() -> Any:
    """A client that stalls in the middle of a frame is told goodbye."""

    def make(old: Any) -> Any:
        async def write(self: Sender, data: Any) -> None:
            try:
                await old(self, data)
            except Stalled:
                self._transport.try_send(b"\x88\x02\x0f\xa9")
                raise

        return write

    return replaced(Sender, "_write", make)


def gauge_counted_twice() -> Any:
    """What leaves an outbox is taken off its gauge twice."""

    def make(old: Any) -> Any:
        async def write_batch(self: Sender, batch: Any) -> None:
            await old(self, batch)
            self._frames -= sum(item.frames for item in batch)

        return write_batch

    return replaced(Sender, "_write_batch", make)


def seq_reused_after_power_loss() -> Any:
    """The machine went down, and the log goes on under its old name."""

    def make(old: Any) -> Any:
        def init(self: EventLog, directory: Any, boot_id: str | None, *more: Any) -> None:
            old(self, directory, "always the same", *more)

        return init

    return replaced(EventLog, "__init__", make)


ANYTHING = "anything_at_all"
PLANTS: dict[str, tuple[Plant, str, Any]] = {
    "position past what did not fit": (position_past_what_did_not_fit, ANYTHING, None),
    "live without the tail": (live_without_the_tail, ANYTHING, None),
    "page boundary twice": (page_boundary_twice, ANYTHING, None),
    "unsubscribed at the head": (unsubscribed_at_the_head, ANYTHING, None),
    "published before committed": (published_before_committed, ANYTHING, None),
    "offset before the row": (
        offset_before_the_row, "a_kill_around_a_commit_loses_and_doubles_nothing", "between offset and row",
    ),
    "close frame after a cut frame": (
        close_frame_after_a_cut_frame, "a_write_cut_after_k_bytes_is_followed_by_nothing", 21,
    ),
    "gauge counted twice": (gauge_counted_twice, ANYTHING, None),
    "seq reused after power loss": (seq_reused_after_power_loss, "a_power_loss_makes_a_new_epoch", None),
}  # fmt: skip
