"""Bulk: history read by worker processes, while the ingest goes on with what is live.

A worker takes a few files ahead and answers with their pieces, in order; the pipe between is what bounds it. What a
worker declines, and what no worker is needed for, is left to the reader.
"""

import fcntl
import math
import pickle
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from observatory.core.batch import SourceRow
from observatory.ingest.bulk_file import Declined, Job, Piece
from observatory.ingest.bulk_worker import LENGTH, command, frame
from observatory.ingest.items import Redact

log = structlog.get_logger()
WORTH_BYTES = 4 * 1024 * 1024  # less history is read before a process has started
AHEAD = 2  # jobs a worker has: it goes on while the answer to the first is on its way
RECEIVE_BYTES = 1024 * 1024
LIVE_FOR = 2.0  # seconds after a live line in which others are expected
RESTS, LONGEST_REST = 15, 0.2  # times as long as taking in took; seconds
REST_NS = 60 * 10**9  # a file not written to for so long is at rest: its last line may lack the newline for good


@attrs.frozen
class Workers:
    """count: processes; 0: none. piece_bytes: of a file that are read and folded together.

    batch_bytes: of history that are stored in one transaction: how long that takes is how long a live line may have to
    wait, and the more there is, the less often the same pages of an index are written. pieces_waiting: of all workers,
    until the ingest takes them.
    """

    count: int = 1
    piece_bytes: int = 128 * 1024
    batch_bytes: int = 128 * 1024
    pieces_waiting: int = 8


NO_WORKERS = Workers(0)


class WorkerLost(Exception):
    """A worker process ended before it had answered."""


@attrs.define(eq=False)
class Bulk:
    """`offer` and `take_nowait` are called by the ingest's task; `run` is a task of its own.

    wake: tells the ingest that a piece waits.
    """

    workers: Workers
    wake: Callable[[], Awaitable[None]]
    redact: Redact | None = None
    queue: list[SourceRow] = attrs.field(factory=list)  # oldest first: taken from the end
    taken: dict[str, bool] = attrs.field(factory=dict)  # paths that are being read → whether to look at it after
    _pieces: deque[Piece | Declined] = attrs.field(factory=deque)
    _room: trio.Semaphore = attrs.field(init=False)
    _more: trio.Event = attrs.field(factory=trio.Event)
    _started_ns: int = 0
    _live_at: float = -math.inf
    _rest_until: float = 0.0

    @_room.default
    def _room_for_pieces(self) -> trio.Semaphore:
        return trio.Semaphore(self.workers.pieces_waiting)

    @property
    def waiting(self) -> int:
        """Files that are not in yet."""
        return len(self.queue) + len(self.taken)

    @property
    def ready(self) -> bool:
        """A piece waits, and may be taken in now."""
        return bool(self._pieces) and trio.current_time() >= self._rest_until

    @property
    def next_due(self) -> float:
        """When a piece that waits may be taken in; infinity if none waits."""
        return self._rest_until if self._pieces else math.inf

    def live(self) -> None:
        """Lines come in as they are written."""
        self._live_at = trio.current_time()

    def rest(self, began: float) -> None:
        """Pieces were taken in since `began`: while lines come in, most of the time is theirs."""
        now = trio.current_time()
        if now - self._live_at < LIVE_FOR:
            self._rest_until = now + min(LONGEST_REST, RESTS * (now - began))

    def offer(self, rows: Iterable[SourceRow], started_ns: int) -> bool:
        """Have these files read. False: that is not worth a process."""
        rows = list(rows)
        if not self.workers.count or sum(row.state.size for row in rows) < WORTH_BYTES:
            return False
        self._started_ns = started_ns
        self.queue += rows
        self.queue.sort(key=lambda row: row.state.mtime_ns)
        self._more.set()
        return True

    def hold_back(self, path: str) -> bool:
        """Whether a hint is about a file that is being read now; it will be looked at after that."""
        if path in self.taken:
            self.taken[path] = True
            return True
        return False

    def take_nowait(self) -> Piece | Declined | None:
        """The next piece, if there is one."""
        if not self._pieces:
            return None
        self._room.release()
        return self._pieces.popleft()

    def finished(self, path: str) -> bool:
        """A file is in, or left to the reader; returns whether it was hinted at meanwhile."""
        return self.taken.pop(path, False)

    async def run(self) -> None:
        """Start workers when there is work, and end them when it is done; until cancelled."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(min(self.workers.count, len(self.queue))):
                    nursery.start_soon(self._work)
            while self.queue:  # no worker is left
                await self._decline(self.queue.pop().path)

    async def _work(self) -> None:
        """One worker's life. Files that it had when it was lost are left to the reader."""
        jobs: deque[str] = deque()
        try:
            async with trio.open_nursery() as nursery:
                start = partial(
                    trio.run_process,
                    command(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    check=False,
                    process_group=0,  # Ctrl-C is for us: we end it
                )
                process: trio.Process = await nursery.start(start)
                try:
                    _widen(process)
                    await self._converse(process, jobs)
                finally:
                    process.kill()
        except* (WorkerLost, OSError, pickle.UnpicklingError) as errors:
            log.error("import.worker_lost", error=str(errors.exceptions[0]), files=len(jobs))
            for path in jobs:
                await self._decline(path)

    async def _converse(self, process: trio.Process, jobs: deque[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = _Frames(process.stdout)
        while True:
            while self.queue and len(jobs) < AHEAD:
                row = self.queue.pop()
                jobs.append(row.path)
                self.taken[row.path] = False
                at_rest = row.state.mtime_ns < self._started_ns - REST_NS
                await process.stdin.send_all(frame(Job(row, self.workers.piece_bytes, at_rest, self.redact)))
            if not jobs:
                return
            answer: Piece | Declined = pickle.loads(await answers.next())
            if isinstance(answer, Declined) or not answer.more:
                jobs.popleft()
            await self._deliver(answer)

    async def _decline(self, path: str) -> None:
        self.taken.setdefault(path, False)
        await self._deliver(Declined(path))

    async def _deliver(self, answer: Piece | Declined) -> None:
        await self._room.acquire()
        self._pieces.append(answer)
        await self.wake()


def _widen(process: trio.Process) -> None:
    """A larger pipe: fewer turns of the loop for the same bytes. What the system does not grant is no harm."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, RECEIVE_BYTES)  # type: ignore[union-attr]


@attrs.define(eq=False)
class _Frames:
    """What comes through a pipe, cut into messages."""

    _pipe: trio.abc.ReceiveStream
    _held: bytearray = attrs.field(factory=bytearray)

    async def next(self) -> bytes:
        """The next message. Raises WorkerLost."""
        await self._fill(LENGTH.size)
        end = LENGTH.size + LENGTH.unpack_from(self._held)[0]
        await self._fill(end)
        message = bytes(memoryview(self._held)[LENGTH.size : end])
        del self._held[:end]
        return message

    async def _fill(self, size: int) -> None:
        while len(self._held) < size:
            data = await self._pipe.receive_some(RECEIVE_BYTES)
            if not data:
                raise WorkerLost("it ended before it had answered")
            self._held += data
