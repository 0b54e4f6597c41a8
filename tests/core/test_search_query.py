import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.errors import UsageError
from observatory.core.search_query import MOST_TERMS, Term, folded, parse
from observatory.core.search_text import COLUMNS
from observatory.core.search_words import spread


def index(*texts: str) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(said, content='', tokenize='unicode61 remove_diacritics 2')")
    db.executemany("INSERT INTO words (rowid, said) VALUES (?, ?)", enumerate(map(spread, texts)))
    return db


def found(query: str, *texts: str) -> list[int]:
    """Numbers of the texts that are found; where something is, the snippet's pattern finds it too."""
    wish = parse(query)
    db = index(*texts)
    hits = [row for (row,) in db.execute("SELECT rowid FROM words WHERE words MATCH ?", (wish.expression(),))]
    db.close()
    for hit in hits:
        assert wish.pattern.search(folded(texts[hit])) is not None, (query, texts[hit])
    return hits


TEXTS = (
    "The cart total is wrong in snake_case of a.b.c",
    "def total_of(basket): return cart.total",
    "see /usr/lib/python3/x.py or foo::bar",
    "東京都の天気",
    "Où est le Café? Größe naïve",
    "case of the snake; total cart",
)


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("cart", [0, 1, 5]),
        ("CART total", [0, 1, 5]),
        ('"cart total"', [0, 1]),
        ("snake_case", [0]),
        ("a.b.c", [0]),
        ("/usr/lib", [2]),
        ("foo::bar", [2]),
        ("x.py", [2]),
        ("cart -basket", [0, 5]),
        ('cart -"cart total"', [5]),
        ("basket OR snake", [0, 1, 5]),
        ("wrong OR basket OR", [0, 1]),
        ("OR wrong", [0]),
        ("cart AND wrong", [0]),
        ("pyth*", [2]),
        ('"see usr lib pyth"*', [2]),
        ("pyth", []),
        ("東京", [3]),
        ("京都", [3]),
        ("京", [3]),
        ("京*", [3]),
        ("気", [3]),
        ("京気", []),
        ("ou cafe", [4]),
        ("OÙ CAFÉ", [4]),
        ("groß*", [4]),
        ('"no end', []),
        ('"cart total', [0, 1]),
        ("--no-verify", []),
        ("cart -- total", [0, 1, 5]),
        ('"" cart', [0, 1, 5]),
        ("cart - … total", [0, 1, 5]),
    ],
)
def test_a_query_finds_what_it_says(query: str, hits: list[int]) -> None:
    assert found(query, *TEXTS) == hits


def test_it_may_be_asked_in_some_columns_only() -> None:
    assert parse("a b -c").expression(("said", "input")) == '{said input} : ((("a") AND ("b")) NOT "c")'
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE VIRTUAL TABLE words USING fts5({', '.join(COLUMNS)}, content='')")
    db.execute("INSERT INTO words (rowid, said, result) VALUES (1, 'cart', 'total')")
    query = "SELECT count(*) FROM words WHERE words MATCH ?"
    assert db.execute(query, (parse("cart total").expression(),)).fetchone() == (1,)
    assert db.execute(query, (parse("cart total").expression(("said",)),)).fetchone() == (0,)
    db.close()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "nothing to search for: name a word"),
        ("  ", "nothing to search for: name a word"),
        ("->", "use --exact"),
        ('"::"', "use --exact"),
        ("OR", "use --exact"),
        ("t*", "write at least two letters before"),
        ('"see t"*', "write at least two letters before"),
        ("-cart", "at least one word that must be there"),
        ("x" * 1001, "1,000 characters, this one has 1,001"),
        ("a " * (MOST_TERMS + 1), f"may have {MOST_TERMS} words"),
    ],
)
def test_what_cannot_be_searched_for_is_refused_in_one_line(query: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse(query)


@given(st.text(max_size=60) | st.text(alphabet="ab\"*-():^{}+ORANDNEAR 東\0'", max_size=40))
def test_no_text_is_a_syntax_error(text: str) -> None:
    try:
        wish = parse(text)
    except UsageError:
        return
    db = index("a b")
    db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (wish.expression(("said",)),)).fetchall()
    db.close()
    assert wish.pattern


def test_folding_keeps_each_character_in_its_place() -> None:
    for text in ("Größe CAFÉ ﬁ İstanbul 東京 ǅ", "ẞ"):
        assert len(folded(text)) == len(text)
    assert Term(("東京", "tower")).pattern == r"東京[\W_]*tower(?![^\W_])"
