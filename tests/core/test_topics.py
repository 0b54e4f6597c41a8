"""Topics: what a client may hold, and what events carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.topics import LEGACY_TOPICS, PLAIN, is_topic, of_conversation, of_file, of_project

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_the_plain_topics_are_topics(name: str) -> None:
    assert is_topic(name)


@given(st.sampled_from(["conversation", "project", "file_events"]), VISIBLE)
def test_a_family_and_an_id_of_visible_ascii_is_a_topic(family: str, name: str) -> None:
    assert is_topic(f"{family}:{name}")


@pytest.mark.parametrize(
    "text",
    ["", "*", "all", "conversation", "conversation:", "conversation:" + "x" * 201, "conversation:a b", "system:x",
     "conversation:é", "conversation:a\n", "machine:m1", " system", "all_conversations ", 7, None, ["system"]],
)  # fmt: skip
def test_anything_else_is_no_topic(text: object) -> None:
    assert not is_topic(text)


def test_a_conversation_carries_the_topics_of_its_project_and_of_those_above_it() -> None:
    assert of_conversation("c", "p") == ("all_conversations", "conversation:c", "project:p")
    assert of_conversation("c", "p", ["b", "a"])[3:] == ("conversation:b", "conversation:a")


def test_a_project_and_a_file_carry_theirs() -> None:
    assert of_project("p") == ("project_updates", "project:p")
    assert of_file("p") == ("file_events", "file_events:p")
    assert of_file(None) == ("file_events",)


def test_a_legacy_client_holds_what_the_originals_dashboard_listens_to() -> None:
    assert {"all_conversations", "project_updates", "file_events"} == LEGACY_TOPICS
