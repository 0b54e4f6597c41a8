from hypothesis import given
from hypothesis import strategies as st

from observatory.core.search_words import is_run, pieces, spread, wanted


def test_a_run_without_spaces_becomes_its_pairs_and_its_last_character() -> None:
    assert spread("東京都").split() == ["東京", "京都", "都"]
    assert spread("a東京b").split() == ["a", "東京", "京", "b"]
    assert spread("字").split() == ["字"]
    assert spread("한국어 말").split() == ["한국", "국어", "어", "말"]


def test_other_text_stays_as_it_is() -> None:
    for text in ("snake_case a.b.c", "naïve café … ─┼─", "Привет", ""):
        assert spread(text) == text


def test_letters_that_were_taken_apart_are_put_together() -> None:
    assert spread("cafe\u0301") == "café"
    assert spread("\u1112\u1161\u11ab\u1100\u116e\u11a8").split() == ["한국", "국"]


def test_what_is_asked_for_is_cut_where_words_end() -> None:
    assert pieces("snake_case") == ["snake", "case"]
    assert pieces("/usr/lib/x.py") == ["usr", "lib", "x", "py"]
    assert pieces("foo::bar()") == ["foo", "bar"]
    assert pieces("v2東京 tower") == ["v2", "東京", "tower"]
    assert pieces("naïve café") == ["naïve", "café"]
    assert pieces("…  -> \0 \ue000 🎯 ㈱ ✔\ufe0f") == ["\ue000"]
    assert is_run("東京")
    assert not is_run("v2東京")


def test_what_is_asked_for_is_put_as_the_index_has_it() -> None:
    assert wanted(["snake", "case"]) == ("snake case", False)
    assert wanted(["東京都"]) == ("東京 京都", False)
    assert wanted(["字"]) == ("字", True)
    assert wanted(["東京", "tower"]) == ("東京 京 tower", False)
    assert wanted(["v", "字"]) == ("v 字", True)


@given(st.text(alphabet="東京都字ab _한국"), st.data())
def test_whatever_stands_in_a_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    part = text[start:end]
    inside = any(is_word(text[at - 1 : at]) and is_word(text[at : at + 1]) for at in (start, end) if at)
    if not pieces(part) or inside:  # words are found whole
        return
    words = "".join(char if char not in " _" else " " for char in spread(text)).split()
    asked, open_ended = wanted(pieces(part))
    query = asked.split()
    places = [words[at : at + len(query)] for at in range(len(words))]
    if open_ended:
        assert any(place[:-1] == query[:-1] and place[-1:] and place[-1].startswith(query[-1]) for place in places)
    else:
        assert query in places


def is_word(char: str) -> bool:
    return char in ("a", "b")
