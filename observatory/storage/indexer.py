"""Indexer: keeps the full-text index up to date in idle time, and never in anyone's way.

A few lines are taken in by a thread, in short steps; a history by a process that only gets the time which nobody else
wants. Whatever goes wrong with the index stays here: it is told in the health, and tried again.
"""

import math
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from observatory.core.contracts import Report
from observatory.core.errors import StoreError
from observatory.storage import search_process
from observatory.storage.search_index import WORTH_RECORDS, SearchIndex
from observatory.storage.search_steps import SEARCH, drop

log = structlog.get_logger()
R = TypeVar("R")
LOOK_EVERY = 1.0  # seconds between two looks for what is new
STEP_BYTES, PAUSE = 128 * 1024, 0.02  # of bodies in one step of the thread: a few ms; seconds between two
NOTHING = -1
PATIENCE = (5.0, 300.0)  # seconds after a failure: the first time, and at most


@attrs.define
class State:
    """What can be told of the index."""

    documents: int = 0
    lag: int = 0
    bytes: int = 0


class Indexer:
    """`run` is the task; `forget` is called by others, and waits for it.

    commits: how many there were, which tells that something may be new. report: has the health say how it is.
    """

    def __init__(self, directory: Path, commits: Callable[[], int], report: Report) -> None:
        self._directory = directory
        self._commits = commits
        self._report = report
        self._trouble: str | None = None
        self._limiter = trio.CapacityLimiter(1)
        self._lock = trio.Lock()  # held by whoever has the index open
        self._working = trio.CancelScope()
        self._seen = NOTHING
        self.state = State()

    async def run(self) -> None:
        """Until cancelled."""
        patience = PATIENCE[0]
        while True:
            if self._seen != (now := self._commits()):
                try:
                    async with self._lock:
                        with trio.CancelScope() as self._working:
                            await self._bring_up_to_date()
                            self._seen, patience = now, PATIENCE[0]
                            await self._tell(None)
                except Exception as error:  # whatever it is, the log and its clients go on; it is tried again
                    if not isinstance(error, StoreError | OSError):
                        log.exception("search.failed")
                    await self._tell(str(error) or type(error).__name__)
                    await trio.sleep(patience)
                    patience = min(2 * patience, PATIENCE[1])
            await trio.sleep(LOOK_EVERY)

    async def forget(self) -> None:
        """Leave nothing of the index: it holds words of what was forgotten. It is built anew after that."""
        self._working.cancel()
        async with self._lock:
            drop(self._directory)
            self._seen = NOTHING
            self.state = attrs.evolve(self.state, documents=0, bytes=0)

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {
            "search_documents": self.state.documents,
            "search_lag_records": self.state.lag,
            "search_bytes": self.state.bytes,
        }

    async def _tell(self, trouble: str | None) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            log.info("search.healthy")
        else:
            log.warning("search.degraded", reason=trouble)
        await self._report("search", "ok" if trouble is None else "degraded", trouble)

    async def _bring_up_to_date(self) -> None:
        index = await self._in_thread(partial(SearchIndex, self._directory))
        worth = math.inf  # a process that took nothing in is not started again
        with closing(index):
            while True:
                self._look(index.documents, lag := await self._in_thread(index.lag))
                if WORTH_RECORDS < lag < worth:
                    worth = lag
                    await self._run_process()
                elif await self._in_thread(partial(index.advance, STEP_BYTES)) is None:
                    return
                await trio.sleep(PAUSE)

    def _look(self, documents: int, lag: int) -> None:
        size = 0
        for path in self._directory.glob(f"{SEARCH}*"):
            with suppress(FileNotFoundError):  # a write-ahead file that has just gone
                size += path.stat().st_size
        self.state = attrs.evolve(self.state, documents=documents, lag=lag, bytes=size)

    async def _run_process(self) -> None:
        """It tells how far it is, and ends with us: its standard input is then at its end."""
        start = partial(
            trio.run_process, search_process.command(self._directory),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False, process_group=0,  # Ctrl-C is for us
        )  # fmt: skip
        lag, told = self.state.lag, b""
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            assert process.stdout is not None
            try:
                async for data in process.stdout:
                    lines = (told + data).split(b"\n")
                    told = lines.pop()
                    for line in lines:
                        done, documents = map(int, line.split())
                        self._look(documents, max(0, lag - done))
            finally:
                process.kill()
        if process.returncode:
            raise StoreError("the process that builds the search index has ended early", "see the log", retryable=True)

    async def _in_thread(self, call: Callable[[], R]) -> R:
        return await trio.to_thread.run_sync(call, limiter=self._limiter)
