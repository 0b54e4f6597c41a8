import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.errors import UsageError
from observatory.core.search_exact import Needle, needle


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(total)", '"total"'),
        ("(total", '"total"*'),
        ("total)", None),
        ("a total of", '"total of"*'),
        (" snake_case ", '"snake case"'),
        ("->", None),
        ("東京", '"東京"'),
        ("(字", '"字"*'),
    ],
)
def test_the_words_are_those_that_are_certain_to_be_whole(text: str, words: str | None) -> None:
    assert Needle(text).words == words


def test_the_hint_is_what_no_json_writer_escapes() -> None:
    assert Needle('x "Total of(').hint == b"total of("
    assert Needle('"\\"').hint is None
    assert Needle("é").hint is None
    assert Needle("a\nbc").hint == b"bc"


@given(st.text(min_size=1, max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_the_hint_is_in_the_bytes_of_whatever_holds_the_text(text: str, before: str, after: str) -> None:
    hint = Needle(text).hint
    if hint is not None:
        assert hint in orjson.dumps(before + text + after).lower()


def test_the_pattern_finds_the_text_and_nothing_else() -> None:
    assert Needle("a.b").pattern.search("xA.By")
    assert not Needle("a.b").pattern.search("axb")
    assert not Needle("a.b", case=True).pattern.search("A.B")


def test_nothing_and_too_much_are_refused() -> None:
    assert needle("x", case=True) == Needle("x", True)
    with pytest.raises(UsageError, match="name a text"):
        needle(" \n", case=False)
    with pytest.raises(UsageError, match="1,000 characters"):
        needle("x" * 1001, case=False)
