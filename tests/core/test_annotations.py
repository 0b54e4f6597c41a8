import pytest

from observatory.core.annotations import MOST_TAGS, Annotation, Change, applied, change_of, draft_of, tag_of
from observatory.core.conversation import Conversation
from observatory.core.errors import UsageError

ROW = Conversation("c1", "p1", "s1", "/r/c1.jsonl", "2026-11-22T20:00:00.000Z", "2026-11-22T20:00:00.000Z")


def changed(before: Annotation, **change: object) -> Annotation:
    return applied(before, Change("c1", **change))  # type: ignore[arg-type]


def test_what_is_said_changes_by_what_is_named() -> None:
    said = changed(Annotation("c1"), starred=True, add=("bug", "Cart"), note="look")
    assert said == Annotation("c1", True, ("bug", "Cart"), "look")
    assert changed(said) == said
    assert changed(said, remove=("BUG",)) == Annotation("c1", True, ("Cart",), "look")
    assert changed(said, add=("CART", "alpha")).tags == ("alpha", "bug", "Cart")
    empty = changed(said, starred=False, remove=("bug", "cart", "none"), note="")
    assert empty.empty
    assert not said.empty


def test_tags_are_bounded() -> None:
    many = tuple(f"t{number}" for number in range(MOST_TAGS))
    with pytest.raises(UsageError, match="may have 32 tags"):
        changed(Annotation("c1", tags=many), add=("one more",))


def test_a_change_as_typed() -> None:
    assert change_of("c1", None, [" a "], ["b"], " x\ny ") == Change("c1", None, ("a",), ("b",), "x\ny")
    assert change_of("c1", None, [], [], None).empty
    with pytest.raises(UsageError, match="a note may have 4,096 characters, this one has 4,097"):
        change_of("c1", None, [], [], "x" * 4097)
    with pytest.raises(UsageError, match="NUL"):
        change_of("c1", None, [], [], "x\0")


@pytest.mark.parametrize("text", ["", "  ", "a,b", "x" * 65, "a\nb", "\x1b[31m", "\u202ea"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        tag_of(text)


def test_a_tag_is_one_text_however_it_was_typed() -> None:
    assert tag_of("cafe\u0301") == "caf\u00e9"


def test_followers_are_told_what_changed() -> None:
    draft = draft_of(ROW, ["c0"], Annotation("c1"), Annotation("c1", True, ("a",)))
    assert draft is not None
    assert draft.type == "conversation_update"
    always = {"id": "c1", "project_id": "p1", "session_id": "s1", "message_count": 0, "file_path": "/r/c1.jsonl"}
    assert draft.data == {**always, "starred": True, "tags": ["a"]}
    assert draft.topics == ("all_conversations", "conversation:c1", "project:p1", "conversation:c0")
    assert draft_of(ROW, [], Annotation("c1", note="x"), Annotation("c1", note="x")) is None
