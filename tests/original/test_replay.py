"""A broadcast message is an event: who was away gets it by resuming, and everybody gets the same."""

import random
from pathlib import Path

import pytest

from tests.original.stage import END, Embedded, Message, embedded

NAMES = ("a", "b")
TOPICS = ("all_conversations", "project_updates", "file_events", "system",
          *(f"{family}:{name}" for family in ("conversation", "project", "file_events") for name in NAMES))  # fmt: skip


async def test_a_client_that_was_away_gets_what_was_broadcast_meanwhile(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        there = await on.client("conversation:a")
        for number in range(10):
            await on.say("message", "conversation:a", n=number)
            await on.say("other", "conversation:b", n=number)
        await on.client("conversation:a", since=0)
        late = await on.client("conversation:a", since=9)
        live, replayed, rest = await on.received()
        assert live == replayed
        assert rest == [message for message in live if message["seq"] > 9]
        assert (there.start, late.start) == (0, 9)


async def test_broadcasts_outlive_the_process(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("conversation:a")
        await on.say("first", "all_conversations")
        await on.manager.broadcast({"type": "second", "data": [1]})
        (before,) = await on.received()
    async with embedded(tmp_path) as on:
        assert (await on.manager.broadcast({"type": "third"})).seq == 4
        client = await on.client("conversation:a", since=0)
        assert await client.until(END) == before
        assert (await client.next())["type"] == "third"


@pytest.mark.parametrize("seed", range(5))
async def test_random_filters_reach_random_holders_as_the_table_says_live_and_by_replay(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    async with embedded(tmp_path) as on:
        held = [frozenset(draw.sample(TOPICS, draw.randint(0, 4))) for _ in range(20)]
        for topics in held:
            await on.client(*sorted(topics))
        sent = [draw.choice((None, *TOPICS)) for _ in range(80)]
        for subscription_filter in sent:
            await on.say("message", subscription_filter, told=subscription_filter)
        live = await on.received()
        for topics, messages in zip(held, live, strict=True):
            assert told(messages) == [one for one in sent if is_due(one, topics)], sorted(topics)
        assert await replayed(on, held) == live


async def replayed(on: Embedded, held: list[frozenset[str]]) -> list[list[Message]]:
    """What new clients with the same topics get from the log."""
    return [await (await on.client(*sorted(topics), since=0)).until(END) for topics in held]


def told(messages: list[Message]) -> list[str | None]:
    return [message["data"]["told"] for message in messages]


def is_due(subscription_filter: str | None, held: frozenset[str]) -> bool:
    """The table once more, in the plainest words."""
    if subscription_filter is None:
        return True
    if subscription_filter == "system":
        return "system" in held
    if subscription_filter == "all_conversations":
        families = [topic for topic in held if topic.startswith("conversation:") or topic.startswith("project:")]
        return "all_conversations" in held or bool(families)
    if subscription_filter.startswith("project:") and "project_updates" in held:
        return True
    return subscription_filter in held or "all_conversations" in held
