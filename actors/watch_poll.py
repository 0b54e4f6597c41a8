"""The polling back-end: looks at every directory again and again. Also the fallback for what cannot be watched."""

from collections.abc import Callable, Mapping

import trio

from actors.watch_port import Hints

ACTIVE_S = 0.2  # between looks while files change
IDLE_S = 2.0  # … and after a quiet time: 1,000 files cost about 4 ms a look


class PollBackend:
    """Makes every directory a suspect at each round; the round's length follows the activity.

    Args: activity: a count that moves whenever a change is found.
    """

    name = "poll"

    def __init__(self, activity: Callable[[], int], active_s: float = ACTIVE_S, idle_s: float = IDLE_S) -> None:
        self._activity = activity
        self._seen_activity = 0
        self._active_s, self._idle_s = active_s, idle_s
        self._pause_s = active_s
        self._directories: dict[str, None] = {}
        self._sought: dict[str, None] = {}
        self._busy = trio.Event()

    def __len__(self) -> int:
        return len(self._directories)

    def watch(self, directory: str) -> None:
        """Look at it from the next round on."""
        self._directories[directory] = None
        self._busy.set()

    def unwatch(self, directory: str) -> None:
        """Look at it no more."""
        self._directories.pop(directory, None)

    def audit(self, directories: Mapping[str, int]) -> frozenset[str]:
        """Polling forgets none."""
        return frozenset()

    def seek(self, root: str) -> bool:
        """Look whether it is there, each round."""
        self._sought[root] = None
        self._busy.set()
        return True

    def unseek(self, root: str) -> None:
        """It was found."""
        self._sought.pop(root, None)

    async def run(self) -> None:
        """There is nothing to do beside `next_hints`."""

    async def ready(self) -> None:
        """There is nothing to be made ready."""
        await trio.lowlevel.checkpoint()

    async def next_hints(self) -> Hints:
        """Wait for the next round. Without anything to poll, wait at no cost."""
        if not self._directories and not self._sought:
            self._busy = trio.Event()
            await self._busy.wait()
        await trio.sleep(self._next_pause_s())
        return Hints(suspects=self._sought | self._directories)

    def close(self) -> None:
        """There is nothing to give back."""

    def _next_pause_s(self) -> float:
        activity = self._activity()
        quiet = activity == self._seen_activity
        self._seen_activity = activity
        self._pause_s = min(self._pause_s * 2, self._idle_s) if quiet else self._active_s
        return self._pause_s
