import re

import pytest

from observatory.core.search_query import parse
from observatory.core.search_snippet import MOST_MARKS, WIDTH, Snippet, snippet
from observatory.core.search_text import Passage, Role

LONG = "word " * 100


def shown(query: str, *texts: str, roles: int = ~0) -> Snippet:
    return snippet([Passage(Role.USER, text) for text in texts], roles, parse(query).pattern)


def marked(found: Snippet) -> list[str]:
    return [found.text[start:end] for start, end in found.marks]


def test_it_is_the_stretch_with_most_of_what_was_asked_for() -> None:
    text = f"cart {LONG} the cart total is wrong {LONG}"
    found = shown("cart total", text)
    assert marked(found) == ["cart", "total"]
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert len(found.text) <= WIDTH + 2
    assert text[found.at :].startswith("cart total is")


def test_the_passage_that_holds_more_of_it_wins() -> None:
    assert shown("cart total", "a cart here", "the cart total").text == "the cart total"


def test_only_passages_of_the_roles_asked_for_are_shown() -> None:
    passages = [Passage(Role.USER, "my cart"), Passage(Role.TOOL_RESULT, "a cart in a result")]
    pattern = parse("cart").pattern
    assert snippet(passages, Role.TOOL_RESULT, pattern).text == "a cart in a result"
    assert snippet(passages, Role.USER, pattern).role == Role.USER
    assert snippet(passages, Role.THINKING, pattern).text in ("my cart", "a cart in a result")


def test_it_is_one_line_and_marks_stay_where_they_belong() -> None:
    found = shown("total cart", "a\n\n  cart\t \n total\n")
    assert found.text == "a cart total"
    assert marked(found) == ["cart", "total"]


def test_what_is_not_found_where_it_is_looked_is_shown_from_the_beginning() -> None:
    found = shown("nowhere", f"the beginning {LONG}")
    assert found.text.startswith("the beginning word")
    assert found.marks == ()
    assert snippet([], ~0, re.compile("x")) == Snippet("", (), 0, 0)


def test_accents_and_case_are_no_difference_and_places_are_exact() -> None:
    assert marked(shown("cafe GROSSE", "ein großes CAFÉ, grosse")) == ["CAFÉ", "grosse"]
    assert marked(shown("京都", "東京都の")) == ["京都"]


def test_exactly_means_the_text_itself() -> None:
    passages = [Passage(Role.USER, "Cart and cart")]
    assert marked(snippet(passages, ~0, re.compile("cart"), exactly=True)) == ["cart"]


@pytest.mark.parametrize("text", ["x" * 1000 + "cart" + "y" * 1000, "cart" * 500, "cart " * (MOST_MARKS + 500)])
def test_texts_of_any_shape_are_cut_to_a_line(text: str) -> None:
    found = shown("cart* xxxx*", text)
    assert 0 < len(found.text) <= WIDTH + 2
    assert all(0 <= start < end <= len(found.text) for start, end in found.marks)
