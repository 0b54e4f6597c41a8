"""A sending end that never holds up its owner: what the receiver cannot take yet is merged, key by key."""

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import trio

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Out(Protocol[T_contra]):
    """Where batches go: the sending end of a memory channel, or an actor that offers the same two calls."""

    def send_nowait(self, batch: tuple[T_contra, ...], /) -> None:
        """Take a batch; raises trio.WouldBlock when there is no room."""
        ...

    async def send(self, batch: tuple[T_contra, ...], /) -> None:
        """Take a batch; waits for room."""
        ...


class Outlet(Generic[T]):
    """Batches on their way into a bounded channel. At most one waits in `run`; what comes meanwhile merges behind it.

    Memory is bounded by the number of different keys, not by the number of items.
    """

    def __init__(self, out: Out[T]) -> None:
        self._out = out
        self._pending: dict[Hashable, T] = {}
        self._blocked = False
        self._unblock = trio.Event()

    def put(self, key: Hashable, item: T) -> None:
        """Add an item to the next batch. Of two of one kind the first stays, of two kinds the second."""
        old = self._pending.get(key)
        if type(old) is not type(item):
            self._pending[key] = item

    def flush_nowait(self) -> None:
        """Send what is pending, or leave it to `run` if the receiver is behind."""
        if not self._pending or self._blocked:
            return
        try:
            self._out.send_nowait(tuple(self._pending.values()))
        except trio.WouldBlock:
            self._blocked = True
            self._unblock.set()
        else:
            self._pending.clear()

    async def run(self) -> None:
        """Wait for a receiver that is behind; one batch at a time, in order."""
        while True:
            await self._unblock.wait()
            self._unblock = trio.Event()
            while self._pending:
                batch = tuple(self._pending.values())
                self._pending.clear()
                await self._out.send(batch)
            self._blocked = False
