"""Globs against a matcher that tries everything, and in time that grows with the string only."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from observatory.core.globs import compile_glob, wildcards


def naive(pattern: str, text: str) -> bool:
    """By the words of the protocol, one character at a time."""
    places = {0}
    at = 0
    while at < len(pattern):
        wide = pattern.startswith("**", at)
        char = pattern[at]
        at += 2 if wide else 1
        if wide:
            places = {later for place in places for later in range(place, len(text) + 1)}
        elif char == "*":
            runs = [(place, later) for place in places for later in range(place, len(text) + 1)]
            places = {later for place, later in runs if "/" not in text[place:later]}
        else:
            here = [place for place in places if place < len(text)]
            places = {place + 1 for place in here if (text[place] != "/" if char == "?" else text[place] == char)}
    return len(text) in places


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("a", "a", True),
        ("a", "A", False),
        ("a", "ab", False),
        ("*", "", True),
        ("*", "ab\nc", True),
        ("*", "a/b", False),
        ("**", "a/b\n", True),
        ("?", "é", True),
        ("?", "/", False),
        ("?", "", False),
        ("a*/c", "ab/c", True),
        ("a*/c", "a/b/c", False),
        ("**/x.jsonl", "/home/ada/x.jsonl", True),
        ("**/x.jsonl", "x.jsonl", False),
        ("/home/*/p/**", "/home/ada/p/", True),
        ("claude-*-4-?", "claude-sonnet-4-5", True),
        ("**a*b", "a/ab", True),
        ("*ab", "abab", True),
        ("***", "a/b", True),
        ("a.c", "abc", False),
        ("[a]", "[a]", True),
        ("[a]", "a", False),
        ("a$", "a", False),
        ("a", "a\n", False),
    ],
)
def test_what_matches_and_what_does_not(pattern: str, text: str, matches: bool) -> None:
    assert compile_glob(pattern)(text) is matches
    assert naive(pattern, text) is matches


@settings(max_examples=500)
@given(st.text("ab/*?", max_size=12), st.text("ab/", max_size=14))
@example("a*b/a*b", "aab/ab/ab")
@example("**a*b/a**b*", "aab/ab/ab")
def test_it_agrees_with_a_matcher_that_tries_everything(pattern: str, text: str) -> None:
    assert compile_glob(pattern)(text) is naive(pattern, text)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(["a", "/", "ab", "b/", "*", "**", "?"]), max_size=9), st.data())
def test_it_agrees_with_it_on_strings_made_to_match(parts: list[str], data: st.DataObject) -> None:
    runs = {"*": st.text("ab", max_size=3), "**": st.text("ab/", max_size=4), "?": st.sampled_from("ab")}
    text = "".join(data.draw(runs[part]) if part in runs else part for part in parts)
    pattern = "".join(parts)
    assert compile_glob(pattern)(text) is naive(pattern, text)


@pytest.mark.parametrize("pattern", ["a*a*a*a*a*a*a*a*b", "**a*a*a*a*a*a*a*b", "**a**a**a**a**a**a**b", "**?*?*?*?b"])
@pytest.mark.parametrize("text", ["a" * 300_000, "a/" * 150_000, "a" * 150_000 + "/" + "a" * 150_000])
def test_no_glob_takes_longer_than_the_string_is_long(pattern: str, text: str) -> None:
    """Even the square of the length would take minutes; this takes a few hundredths of a second."""
    begun = time.process_time()
    assert not compile_glob(pattern)(text)
    assert time.process_time() - begun < 2


def test_a_double_star_is_one_wildcard() -> None:
    assert [wildcards(pattern) for pattern in ("ab", "*", "**", "***", "a?*b**")] == [0, 1, 1, 2, 3]
