"""Keeper: has a process keep the copy, tells the health how it goes, and starts it again when it ends early.

The process does the work, so that a thread of it never stands in the way of a live line; what it tells arrives here.
"""

import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from actors.supervisor import supervise
from observatory.core.contracts import Report
from observatory.core.errors import StoreError
from observatory.sinks import process
from observatory.sinks.copying import Settings
from observatory.sinks.pusher import Progress

log = structlog.get_logger()
COMPONENT = "supabase"
TRIM_EVERY = 30.0  # seconds
STDERR_BYTES = 4096  # of what a process says that ends early
_progress_of = msgspec.json.Decoder(Progress).decode


class Keeper:
    """`run` is the task. report: has the health say how it is. trim: the copy has the changes up to a number.

    now: seconds, as the process tells them.
    """

    def __init__(
        self,
        settings: Settings,
        report: Report,
        trim: Callable[[int], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._report = report
        self._trim = trim
        self._now = now
        self._trimmed = 0
        self._trimmed_at = 0.0
        self._shown: tuple[str | None, str | None] | None = None
        self._sent_before: dict[str, int] = {}
        self._retries_before: dict[str, int] = {}
        self.progress = Progress()
        self.restarts = 0

    async def run(self) -> None:
        """Until cancelled."""
        await supervise(self._keep, self._ended)

    def counters(self) -> dict[str, Any]:
        """Totals since the start."""
        return {
            "supabase_rows": _sum(self._sent_before, self.progress.sent),
            "supabase_retries": _sum(self._retries_before, self.progress.retries),
            "actor_restarts": {COMPONENT: self.restarts},
        }

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        since = self.progress.lag_since
        return {
            "supabase_lag_changes": self.progress.lag_changes,
            "supabase_lag_bytes": self.progress.lag_bytes,
            "supabase_lag_seconds": 0 if since is None else max(0, round(self._now() - since)),
            "supabase_parked": self.progress.parked,
        }

    async def _keep(self) -> None:
        start = partial(
            trio.run_process, process.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False, process_group=0,  # Ctrl-C is for us
        )  # fmt: skip
        said = b""
        async with trio.open_nursery() as nursery:
            child: trio.Process = await nursery.start(start)
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None

            async def listen(stderr: trio.abc.ReceiveStream) -> None:
                nonlocal said
                async for data in stderr:
                    said = (said + data)[-STDERR_BYTES:]

            nursery.start_soon(listen, child.stderr)
            try:
                await child.stdin.send_all(msgspec.json.encode(self._settings) + b"\n")
                told = b""
                async for data in child.stdout:
                    *lines, told = (told + data).split(b"\n")
                    for line in lines:
                        await self._hear(_progress_of(line))
            finally:
                child.kill()
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise StoreError(last[0] if last else "its process has ended", "", retryable=True)

    async def _hear(self, progress: Progress) -> None:
        self.progress = progress
        shown = progress.reason, progress.hint
        if shown != self._shown:
            self._shown = shown
            await self._show(progress)
        if progress.cursor > self._trimmed and trio.current_time() - self._trimmed_at > TRIM_EVERY:
            self._trimmed, self._trimmed_at = progress.cursor, trio.current_time()
            await self._trim(progress.cursor)

    async def _show(self, progress: Progress) -> None:
        if progress.reason is None:
            log.info("supabase.reached", database=self._settings.shown, warning=progress.warning)
            await self._report(COMPONENT, "ok", None)
        else:
            log.warning("supabase.waiting", database=self._settings.shown, reason=progress.reason, hint=progress.hint)
            details = progress.reason if progress.hint is None else f"{progress.reason}: {progress.hint}"
            await self._report(COMPONENT, "degraded", details)

    async def _ended(self, error: BaseException | None) -> None:
        self.restarts += 1
        self._sent_before = _sum(self._sent_before, self.progress.sent)
        self._retries_before = _sum(self._retries_before, self.progress.retries)
        self.progress = Progress(cursor=self.progress.cursor, lag_since=self.progress.lag_since)
        self._shown = str(error), None
        log.warning("supabase.restarted", reason=str(error))
        await self._report(COMPONENT, "degraded", str(error))


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
