"""The outlet: transactions to the store and on to the clients, and what is told of the store when it fails."""

from collections.abc import Callable

import attrs
import structlog
import trio

from actors.commands import Notify
from actors.router import Router
from observatory.core import topics
from observatory.core.batch import Batch
from observatory.core.errors import StoreBusy, StoreError
from observatory.core.events import Event, text_frame
from observatory.core.facts import facts_of
from observatory.core.ports import Commits
from observatory.core.replies import status_at_once
from observatory.ingest.carried import Carried
from observatory.ingest.health import Health
from observatory.telemetry.measures import Measures

log = structlog.get_logger()
RETRY_SECONDS = (0.05, 1.0)  # first and longest pause before a failed commit is tried again
BUSY_FOR = 5.0  # seconds for which another program's lock is no trouble yet


@attrs.define
class Outlet:
    """Used by the ingest's task. patient: a full disk is waited out."""

    committer: Commits
    router: Router[str]
    health: Health
    wall_ms: Callable[[], int]
    patient: bool = True
    measures: Measures = attrs.field(factory=Measures)

    async def publish(self, carried: Carried) -> None:
        """Give the events to the Router; returns when the clients have had their turn."""
        publish, carried.publish = carried.publish, None
        if publish is not None:
            try:
                await self.router.post(publish)
            finally:
                self.committer.turn.give_back()
            await publish.done.wait()  # the clients first: what this task does next can wait

    async def commit(self, batch: Batch) -> tuple[Event, ...]:
        """Commit, however long the disk is full or the file locked: the transcripts are the buffer meanwhile.

        With events it stays this one's turn until `publish` gives it back; between two attempts it is not.
        """
        pause, failing_since = RETRY_SECONDS[0], None
        while True:
            try:
                events = await self._append(batch)
            except StoreError as error:
                self.measures.count("commit_retries")
                if failing_since is None:
                    failing_since = trio.current_time()
                    log.error("log.not_written", error=str(error))
                if not isinstance(error, StoreBusy) or trio.current_time() - failing_since >= BUSY_FOR:
                    await self.tell_at_once(str(error))
                if not error.retryable or not (self.patient or isinstance(error, StoreBusy)):
                    raise
                await trio.sleep(pause)
                pause = min(RETRY_SECONDS[1], pause * 2)
                continue
            if failing_since is not None:
                log.info("log.written_again", seconds=round(trio.current_time() - failing_since, 3))
                self.health.set("store", "ok", None)
            return events

    async def tell_at_once(self, trouble: str) -> None:
        """What is wrong with the log cannot be an event of it: the one status without a seq, and once per trouble."""
        self.health.set("store", "unavailable", trouble)
        if self.health.news:
            payload = status_at_once(self.health.tell(), self.wall_ms())
            told = facts_of(payload)
            await self.router.post(Notify((topics.SYSTEM,), text_frame(payload), lambda accepts: accepts(told)))

    async def _append(self, batch: Batch) -> tuple[Event, ...]:
        events: tuple[Event, ...] = ()
        await self.committer.turn.take()
        try:
            events = await self.committer.append(batch)
        finally:
            if not events:
                self.committer.turn.give_back()
        return events
