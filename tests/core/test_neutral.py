"""Nothing that a transcript says may command a terminal."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.neutral import neutral, neutral_json

HARMFUL = {"Cc", "Cs", "Zl", "Zp"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
nasty = st.text(st.one_of(st.sampled_from("\x1b\x07\r\n\x9b\x7f" + BIDI), st.characters()))


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in HARMFUL or char in BIDI for char in text)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b]0;owned\x07", "␛]0;owned␇"),  # OSC 0: window title
        ("\x1b]52;c;cm0gLXJm\x1b\\", "␛]52;c;cm0gLXJm␛\\"),  # OSC 52: clipboard
        ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "␛]8;;http://evil␛\\here␛]8;;␛\\"),  # OSC 8: link
        ("\x1b[2J\x1b[1;1H", "␛[2J␛[1;1H"),  # CSI: clear the screen
        ("\x9b31m", "\\x9b31m"),  # CSI as one C1 byte
        ("safe\rrm -rf /", "safe␍rm -rf /"),  # CR: overwrite the line
        ("a\nforged line", "a␊forged line"),
        ("x\x7f", "x␡"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),  # bidi override
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("hi\U000e0041", "hi\\U000e0041"),  # a Unicode tag: hidden text
        ("\ud800", "\\ud800"),
        ("plain [red]text[/red] é 漢 👩‍👧", "plain [red]text[/red] é 漢 👩‍👧"),
    ],
)
def test_commands_become_visible(said: str, shown: str) -> None:
    assert neutral(said) == shown


@given(nasty)
def test_no_control_or_bidi_character_survives(text: str) -> None:
    assert is_harmless(neutral(text))
    assert is_harmless(neutral_json(json.dumps(text, ensure_ascii=False)))


@given(nasty)
def test_neutral_text_stays_as_it_is(text: str) -> None:
    assert neutral(neutral(text)) == neutral(text)


@given(st.text(), st.text())
def test_neutral_json_means_the_same(key: str, value: str) -> None:
    data = {key: [value, {"n": 1}]}
    assert json.loads(neutral_json(json.dumps(data, ensure_ascii=False, indent=1))) == data


def test_neutral_json_keeps_astral_characters_as_surrogate_escapes() -> None:
    assert neutral_json('"\U000e0041"') == '"\\udb40\\udc41"'
