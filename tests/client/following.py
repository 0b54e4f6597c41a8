"""A follower in front of scripted servers, and what the tests ask of it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from observatory.client.follow import Items, follow
from observatory.core.client_items import (
    Event,
    Item,
)
from tests.playing import URL, Script, playing

TOPICS = ["all_conversations"]


def longest(_low: float, high: float) -> float:
    return high


@asynccontextmanager
async def following(*scripts: Script, **options: Any) -> AsyncIterator[Items]:
    async with (
        playing(*scripts) as open_stream,
        follow(URL, TOPICS, uniform=longest, open_stream=open_stream, **options) as items,
    ):
        yield items


async def take(items: Items, count: int) -> list[Item]:
    return [await items.receive() for _ in range(count)]


def seqs(items: Iterable[Item]) -> list[int | None]:
    return [item.seq for item in items if isinstance(item, Event)]
