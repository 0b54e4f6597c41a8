"""Who wrote a user's text."""

import pytest

from observatory.core.prompts import INJECTED, command_line, shape


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fix the test", "prompt"),
        ("  \n fix", "prompt"),
        ("", "note"),
        (" \n", "note"),
        ("[Request interrupted by user]", "interruption"),
        ("\n<command-name>/x</command-name>", "command"),
        ("<command-message>x</command-message>", "command"),
        *[(f" {prefix} text", "note") for prefix in INJECTED],
        ("why does <system-reminder> appear?", "prompt"),
    ],
)
def test_injected_texts_are_no_prompts(text: str, found: str) -> None:
    assert shape(text) == found


@pytest.mark.parametrize(
    ("text", "origin", "source", "found"),
    [
        ("Caveat: mine", "human", None, "prompt"),
        ("Caveat: mine", None, "typed", "prompt"),
        ("done", "task-notification", "typed", "note"),
        ("done", None, "system", "note"),
        ("hello", "a kind of 2027", "a source of 2027", "prompt"),
        ("Caveat: x", "a kind of 2027", 7, "note"),
        ("hello", ["human"], {"a": 1}, "prompt"),
        ("<command-name>/x</command-name>", "human", "typed", "command"),
        ("", "human", "typed", "note"),
    ],
)
def test_origin_and_source_beat_the_text(text: str, origin: object, source: object, found: str) -> None:
    assert shape(text, origin, source) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<command-name>/review</command-name><command-args>12 --fast</command-args>", "/review 12 --fast"),
        ("<command-message>init is…</command-message>\n<command-name>/init</command-name>", "/init"),
        ("<command-name>init</command-name>", "/init"),
        ("<command-message>init</command-message>", "/init"),
        ("<command-name>/x", "/x"),
    ],
)
def test_a_command_is_shown_as_it_was_typed(text: str, line: str) -> None:
    assert command_line(text) == line
