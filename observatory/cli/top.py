"""`observatory top`: what every session does now, in the whole terminal, until q."""

import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import assert_never

import attrs
import trio
from rich.console import Group
from rich.live import Live
from rich.text import Text

from observatory.cli.keys import next_keys, single_keys
from observatory.cli.status import ask
from observatory.cli.terminal import PlainConsole
from observatory.cli.top_view import Link, View, frame
from observatory.client.connection import OpenStream, Server, server_at
from observatory.client.follow import Items, follow
from observatory.core.client_items import Agreed, Connected, Disconnected, Event, Gap, Incomplete, Snapshot
from observatory.core.errors import UsageError, WorldError
from observatory.core.top_state import TopState

TOPICS = ("all_conversations", "project_updates")
DRAW_EVERY, ASK_EVERY = 0.5, 1.0  # seconds
SETTLE_SECONDS = 0.3  # for --once: what comes right behind the snapshot


def now_ms() -> int:
    """Wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


@attrs.define(eq=False)
class Top:
    """All that is known, and what the person wants to see. Only `run`'s tasks touch it."""

    server: str | Server
    open_stream: OpenStream | None = None
    state: TopState = attrs.field(factory=TopState)
    view: View = attrs.field(factory=View)
    link: Link = attrs.field(init=False)
    loaded: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.link = Link(server_at(self.server).url, "connecting …")

    async def follow(self, items: Items) -> None:
        """Take in what comes. Raises as the items do."""
        while True:
            item = await items.receive()
            match item:
                case Event():
                    self.state.take(item.type, item.data, now_ms())
                case Snapshot():
                    self.state.load(item.projects, item.conversations, now_ms())
                    self.loaded.set()
                case Connected():
                    self._link(None if item.recovered is not False else "resynced: not every event could be had")
                case Disconnected():
                    self._link(f"{item.reason}; again in {item.delay:.0f} s; what is shown is old")
                case Gap() | Incomplete():
                    self._link("some events are missing")
                case Agreed():
                    pass
                case _:
                    assert_never(item)

    def _link(self, trouble: str | None) -> None:
        self.link = attrs.evolve(self.link, trouble=trouble)

    async def ask(self) -> None:
        """Ask for the status again and again; a server that is away is told by the follower."""
        while True:
            await self.ask_once()
            await trio.sleep(ASK_EVERY)

    async def ask_once(self) -> None:
        """Ask for the status."""
        with suppress(WorldError, OSError):
            status = await ask(self.server, self.open_stream)
            self.link = attrs.evolve(self.link, status=status)

    def lines(self, width: int, height: int) -> list[Text]:
        """A frame of it now."""
        return frame(self.state, self.view, self.link, now_ms(), width, height)

    def press(self, key: str) -> bool:
        """A key; False: leave."""
        view = self.view
        return view.press(key, self.state.rows(now_ms(), view.sort, agents=view.agents, idle=view.idle))


async def once(server: str | Server, console: PlainConsole, open_stream: OpenStream | None = None) -> None:
    """Print one frame. Raises Unreachable, Refused, Closed."""
    top, following = Top(server, open_stream), follow(server, TOPICS, snapshot=True, open_stream=open_stream)
    async with following as items, trio.open_nursery() as nursery:
        nursery.start_soon(top.follow, items)
        await top.loaded.wait()
        await top.ask_once()
        await trio.sleep(SETTLE_SECONDS)
        nursery.cancel_scope.cancel()
    for line in top.lines(console.width, console.height):
        console.print(line, no_wrap=True, crop=True)


async def run(server: str | Server) -> None:
    """Draw until the person leaves. Raises UsageError: there is no terminal. Unreachable, Refused, Closed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal; print one frame with --once")
    console, top = PlainConsole(sys.stdout), Top(server)
    async with follow(server, TOPICS, snapshot=True) as items, trio.open_nursery() as nursery:
        nursery.start_soon(top.follow, items)
        await top.loaded.wait()  # before that nothing is drawn: a refusal is one line
        nursery.start_soon(top.ask)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGWINCH, signal.SIGINT) as signals:
            await _draw(top, console, signals)
        nursery.cancel_scope.cancel()


async def _draw(top: Top, console: PlainConsole, signals: AsyncIterator[int]) -> None:
    """The screen, until a key or a signal ends it; the terminal is as before then, whatever happened."""
    with single_keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:

        def draw() -> None:
            live.update(Group(*top.lines(console.width, console.height)), refresh=True)

        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while True:
                    keys = await next_keys(keyboard)
                    stays = [top.press(key) for key in keys]
                    if not stays or not all(stays):
                        nursery.cancel_scope.cancel()
                        return
                    draw()

            async def heed() -> None:
                async for number in signals:
                    if number != signal.SIGWINCH:
                        nursery.cancel_scope.cancel()
                        return
                    draw()

            nursery.start_soon(listen)
            nursery.start_soon(heed)
            while True:
                draw()
                await trio.sleep(DRAW_EVERY)
