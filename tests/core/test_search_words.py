from hypothesis import given
from hypothesis import strategies as st

from observatory.core.search_words import is_lone, spread, spread_word


def test_a_run_without_spaces_becomes_its_pairs_and_its_last_character() -> None:
    assert spread("東京都").split() == ["東京", "京都", "都"]
    assert spread("a東京b").split() == ["a", "東京", "京", "b"]
    assert spread("字").split() == ["字", "字"]
    assert spread("한국어 말").split() == ["한국", "국어", "어", "말", "말"]


def test_other_text_stays_as_it_is() -> None:
    for text in ("snake_case a.b.c", "naïve café … ─┼─", "Приве́т", ""):
        assert spread(text) == spread_word(text) == text


def test_letters_that_were_taken_apart_are_put_together() -> None:
    assert spread("cafe\u0301") == "café"
    assert spread("\u1112\u1161\u11ab\u1100\u116e\u11a8").split() == ["한국", "국"]


def test_what_is_asked_for_is_the_pairs_alone() -> None:
    assert spread_word("東京都").split() == ["東京", "京都"]
    assert spread_word("字").split() == ["字"]
    assert is_lone("字")
    assert not is_lone("東京")
    assert not is_lone("a")


@given(st.text(alphabet="東京都字ab _한국"), st.data())
def test_whatever_stands_in_a_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    part = text[start : data.draw(st.integers(start, len(text)))]
    if any(is_lone(char) for char in part) and not is_lone(part) and not any(char in "ab _" for char in part):
        words, wanted = spread(text).split(), spread_word(part).split()
        assert any(words[at : at + len(wanted)] == wanted for at in range(len(words)))
