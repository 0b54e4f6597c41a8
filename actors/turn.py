"""Turn: one holder at a time, like a lock, but given back perhaps by another task than the one that took it."""

import trio


class Turn:
    """Taking a free one costs no task switch. Whoever waits gets it in the order of asking."""

    def __init__(self) -> None:
        self._free = trio.Semaphore(1, max_value=1)

    def take_nowait(self) -> bool:
        """Take it if it is free."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def take(self) -> None:
        """Take it, once it is free."""
        if not self.take_nowait():
            await self._free.acquire()

    def give_back(self) -> None:
        """Let the next one have it. Raises ValueError when nobody holds it."""
        self._free.release()
