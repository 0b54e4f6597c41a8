"""Subscription filters: who gets a broadcast message, row by row of the table, both ways."""

from pathlib import Path

import pytest

from tests.original.stage import embedded

HELD = ("all_conversations", "project_updates", "file_events", "system", "conversation:123", "conversation:9",
        "project:p1", "project:p2", "file_events:p1", "file_events:p2")  # fmt: skip
REACHED = {
    None: set(HELD),
    "all_conversations": {"all_conversations", "conversation:123", "conversation:9", "project:p1", "project:p2"},
    "conversation:123": {"conversation:123", "all_conversations"},
    "project:p1": {"project:p1", "project_updates", "all_conversations"},
    "project_updates": {"project_updates", "all_conversations"},
    "file_events": {"file_events", "all_conversations"},
    "file_events:p1": {"file_events:p1", "all_conversations"},
    "system": {"system"},
    "conversation:nobody": {"all_conversations"},
}


async def test_each_filter_reaches_exactly_the_holders_that_the_table_names(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for topic in HELD:
            await on.client(topic)
        for subscription_filter in REACHED:
            await on.say("message", subscription_filter, told=str(subscription_filter))
        for topic, messages in zip(HELD, await on.received(), strict=True):
            due = [str(one) for one, reached in REACHED.items() if topic in reached]
            assert [message["data"]["told"] for message in messages] == due, topic


async def test_only_the_subscribed_group_gets_a_message(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("conversation:123")
        await on.client("conversation:456")
        await on.client("project:p1")
        await on.say("conversation_update", "conversation:123")
        assert await on.types() == [["conversation_update"], [], []]


async def test_a_client_gets_only_what_it_subscribed_to(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("file_events")
        for subscription_filter in ("conversation:1", "project:1", "project_updates", "file_events", "system"):
            await on.say(subscription_filter, subscription_filter)
        assert await on.types() == [["file_events"]]


async def test_several_subscriptions_bring_each_message_once(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("conversation:1", "conversation:2", "project:p1", "all_conversations", "file_events")
        await on.say("one", "conversation:1")
        await on.say("two", "project:p1")
        await on.say("three", "file_events")
        await on.say("all", "all_conversations")
        await on.say("everybody")
        await on.say("other", "system")
        assert await on.types() == [["one", "two", "three", "all", "everybody"]]
        await client.raw.ask("unsubscribe", {"topics": ["all_conversations", "project:p1"]})
        await on.say("one again", "conversation:1")
        await on.say("two again", "project:p1")
        assert await on.types() == [["one again"]]


async def test_conversation_events_are_filtered_by_conversation(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for topic in ("conversation:a", "conversation:b", "all_conversations", "project:a", "file_events"):
            await on.client(topic)
        await on.say("message_added", "conversation:a")
        assert await on.types() == [["message_added"], [], ["message_added"], [], []]


async def test_project_events_are_filtered_by_project(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for topic in ("project:a", "project:b", "project_updates", "all_conversations", "file_events:a"):
            await on.client(topic)
        await on.say("project_update", "project:a")
        assert await on.types() == [["project_update"], [], ["project_update"], ["project_update"], []]


async def test_file_events_are_filtered_by_project_when_one_is_named(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for topic in ("file_events:a", "file_events:b", "file_events", "all_conversations"):
            await on.client(topic)
        await on.say("of a", "file_events:a")
        await on.say("of any", "file_events")
        assert await on.types() == [["of a"], [], ["of any"], ["of a", "of any"]]


async def test_a_topic_that_looks_like_a_family_is_only_an_id_to_those_who_hold_it(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for topic in ("conversation:*", "conversation:a", "file_events:*", "file_events:a"):
            await on.client(topic)
        await on.say("one", "conversation:a")
        await on.say("files", "file_events:a")
        await on.say("all", "all_conversations")
        assert await on.types() == [["all"], ["one", "all"], [], ["files"]]


@pytest.mark.parametrize(
    "wrong", ["", "*", "weather", "conversation:", "conversation:*", "project:a:*", "conversation:a b", "machine:m", 7]
)
async def test_anything_else_is_refused_and_nothing_is_sent(tmp_path: Path, wrong: str) -> None:
    async with embedded(tmp_path) as on:
        await on.client("all_conversations")
        with pytest.raises(ValueError, match="is no subscription filter"):
            await on.manager.broadcast({"type": "message"}, wrong)
        assert await on.types() == [[]]
