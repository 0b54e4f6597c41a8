"""Hook events: what is one, and who is told."""

from typing import Any

import orjson
import pytest

from observatory.core.conversation import Conversation
from observatory.core.errors import UsageError
from observatory.core.hook_events import Belonging, draft_of, hook_id, hook_of, number_of, row_of

GOOD: dict[str, Any] = {"hook_event_name": "Stop", "session_id": "s"}


def test_an_event_keeps_all_that_was_sent() -> None:
    body = GOOD | {"cwd": "/w", "transcript_path": "/t", "agent_transcript_path": "/a", "more": [1]}
    hook = hook_of(body, "k")
    assert (hook.name, hook.session_id, hook.key, hook.cwd) == ("Stop", "s", "k", "/w")
    assert hook.transcripts == ("/a", "/t")
    assert orjson.loads(hook.body) == body
    assert hook_of(GOOD | {"cwd": 5, "transcript_path": None}, None).transcripts == ()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ([], None),
        ({}, None),
        (GOOD | {"hook_event_name": "x" * 101}, None),
        (GOOD | {"session_id": "a b"}, None),
        (GOOD | {"session_id": None}, None),
        (GOOD, ""),
        (GOOD, "k" * 201),
        (GOOD | {"text": "x" * 300_000}, None),
    ],
)
def test_what_is_none_is_refused_in_words(body: object, key: str | None) -> None:
    with pytest.raises(UsageError):
        hook_of(body, key)


def test_ids_are_read_back() -> None:
    assert number_of(hook_id(12)) == 12
    assert [number_of(id) for id in ("12-0-3", "h", "hx", "h²", "h" + "9" * 20)] == [None] * 5


def test_the_followers_of_its_conversation_are_told() -> None:
    row = Conversation("s.a", "p", "s", "/f", "", "", parent_id="s")
    kept = row_of(3, 1000, hook_of(GOOD, None), Belonging(row, "p", ["s"]))
    draft = draft_of(kept, ["s"])
    assert draft.topics == ("all_conversations", "conversation:s.a", "project:p", "conversation:s")
    told = orjson.loads(orjson.dumps(draft.data))
    assert (told["id"], told["conversation_id"], told["payload"]) == ("h3", "s.a", GOOD)
    unknown = row_of(4, 1000, hook_of(GOOD, None), Belonging(None, None))
    assert draft_of(unknown, ()).topics == ("all_conversations", "conversation:s")
