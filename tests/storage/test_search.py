"""SearchReader: finds what is there, page by page, and shows it from the record itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from observatory.core.batch import Batch, Flag, id_of
from observatory.core.conversation import Conversation
from observatory.core.errors import StoreError, UsageError
from observatory.core.project import Project
from observatory.core.search_page import Page, Search
from observatory.core.search_text import Role
from observatory.storage import search
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE
from observatory.storage.search import searching
from observatory.storage.search_index import SearchIndex
from observatory.storage.search_steps import SEARCH
from tests.storage.indexing import Shelf, result, said, use
from tests.storage.packing import pack_all

NOW = 1_795_381_200_000
DAY_MS = 86_400_000
AT = "2026-11-{:02}T20:00:00.000Z"


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    log = EventLog(tmp_path, "boot")
    times = ("2026-11-22T20:00:00.000Z",) * 3
    projects = {
        id: Project(id, name, f"/{name}", f"-{name}", True, *times) for id, name in (("p1", "shop"), ("p2", "blog"))
    }
    batch = Batch(projects=projects)
    for id, project in (("c1", "p1"), ("c2", "p2"), ("c1.a", "p1")):
        batch.conversations[id] = Conversation(id, project, id, f"/r/{id}.jsonl", *times[:2], title=f"About {id}")
    log.append(batch, 1000)
    yield Shelf(log)
    log.close()


def asked(directory: Path, query: str, **filters: Any) -> Page:
    with closing(SearchIndex(directory)) as index:
        index.catch_up()
    with searching(directory, lambda: NOW) as reader:
        return reader.search(Search(query, **filters))


def found(directory: Path, query: str, **filters: Any) -> list[str]:
    return [hit.record for hit in asked(directory, query, **filters).hits]


def test_a_hit_tells_where_it_is_and_shows_what_was_found(tmp_path: Path, shelf: Shelf) -> None:
    (key,) = shelf.write(1, said("The cart\n\ttotal is wrong"))
    page = asked(tmp_path, "total cart")
    (hit,) = page.hits
    assert (page.total, page.is_exact, page.lag, page.cursor) == (1, True, 0, None)
    assert hit.json() == {
        "record": id_of(key),
        "conversation_id": "c1",
        "project_id": "p1",
        "project": "shop",
        "title": "About c1",
        "timestamp": "2026-11-22T20:00:00.000Z",
        "line": 0,
        "roles": ["user"],
        "tool": None,
        "is_error": False,
        "snippet": "The cart total is wrong",
        "marks": [[4, 8], [9, 14]],
    }


def test_each_filter_leaves_out_the_others(tmp_path: Path, shelf: Shelf) -> None:
    prompt, answer = shelf.write(1, said("cart"), said("cart", "assistant", model="opus"), at=AT.format(20))
    call, error = shelf.write(
        2, use("Bash", "t1", command="cart"), result("cart", "t1", is_error=True), at=AT.format(22)
    )
    (agent,) = shelf.write(3, said("cart"), conversation="c1.a", at=AT.format(21))
    keys = {
        id_of(key): name for name, key in locals().items() if name in ("prompt", "answer", "call", "error", "agent")
    }

    def names(**filters: Any) -> set[str]:
        return {keys[record] for record in found(tmp_path, "cart", **filters)}

    assert names() == {"prompt", "answer", "call", "error", "agent"}
    assert names(project="p2") == {"call", "error"}
    assert names(conversation="c1") == {"prompt", "answer", "agent"}
    assert names(conversation="c1.a") == {"agent"}
    assert names(roles=Role.USER) == {"prompt", "agent"}
    assert names(roles=Role.TOOL_USE | Role.ASSISTANT) == {"call", "answer"}
    assert names(tool="Bash") == {"call", "error"}
    assert names(tool="Grep") == set()
    assert names(model="opus") == {"answer"}
    assert names(errors=True) == {"error"}
    day = NOW // DAY_MS * DAY_MS
    assert names(since=day) == {"call", "error"}
    assert names(until=day - DAY_MS) == {"prompt", "answer"}
    assert names(since=day - DAY_MS, until=day) == {"agent"}
    assert names(conversation="c9") == set()


def test_what_was_said_comes_first_and_newer_before_older(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, result("cart", "t0"), at=AT.format(22))
    old = shelf.write(1, said("cart"), at="2025-01-01T00:00:00.000Z")
    new = shelf.write(1, said("cart"), at=AT.format(22))
    assert found(tmp_path, "cart")[:2] == [id_of(new[0]), id_of(old[0])]
    assert found(tmp_path, "cart", sort="newest")[0] == id_of(new[0])


@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_pages_hold_every_hit_once_although_more_comes_in(tmp_path: Path, shelf: Shelf, sort: Any) -> None:
    keys = shelf.write(1, *[said(f"cart {number % 3} {'x ' * number}") for number in range(25)])
    page = asked(tmp_path, "cart", sort=sort, limit=10)
    pages = [page]
    shelf.write(2, said("cart new"))
    while page.cursor is not None:
        page = asked(tmp_path, "cart", sort=sort, limit=10, cursor=page.cursor)
        pages.append(page)
    assert [len(page.hits) for page in pages] == [10, 10, 5]
    assert sorted(hit.record for page in pages for hit in page.hits) == sorted(map(id_of, keys))


@pytest.mark.parametrize("cursor", ["", "x", "W10", "W29dXQ", "WzEsMiwzLDRd", "WzEsMiwzLCJ4Il0", "WzEsMiwzXQ", "é"])
def test_a_cursor_that_is_none_or_of_another_search_is_refused(tmp_path: Path, shelf: Shelf, cursor: str) -> None:
    shelf.write(1, *[said("cart")] * 3)
    with pytest.raises(UsageError, match="not of this search"):
        asked(tmp_path, "cart", cursor=cursor)
    good = asked(tmp_path, "cart", limit=1).cursor
    with pytest.raises(UsageError, match="not of this search"):
        asked(tmp_path, "total", cursor=good)


def test_copies_are_found_where_they_are_asked_for_and_known_lines_never(tmp_path: Path, shelf: Shelf) -> None:
    (first,) = shelf.write(1, said("cart"))
    (copy,) = shelf.write(2, said("cart"), flags=Flag.COPY)
    shelf.write(2, said("cart"), flags=Flag.KNOWN)
    assert found(tmp_path, "cart") == [id_of(first)]
    assert found(tmp_path, "cart", conversation="c2") == [id_of(copy)]


def test_what_is_gone_from_the_archive_is_no_hit(tmp_path: Path, shelf: Shelf) -> None:
    gone, kept = shelf.write(1, said("cart"), said("cart"))
    assert len(found(tmp_path, "cart")) == 2
    shelf.log._db.execute("DELETE FROM records WHERE id = ?", (gone,))
    assert found(tmp_path, "cart") == [id_of(kept)]


def test_what_is_too_common_is_not_ranked(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TOO_COMMON", 2)
    shelf.write(1, *[said("cart")] * 3)
    assert asked(tmp_path, "cart").sort == "newest"
    assert asked(tmp_path, "cart", roles=Role.TOOL_USE).sort == "relevance"


def test_what_leaves_is_redacted(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, said("the cart key is sesame"))
    with closing(SearchIndex(tmp_path)) as index:
        index.catch_up()
    with searching(tmp_path, leaving=lambda text: text.replace(b"sesame", b"[redacted]")) as reader:
        (hit,) = reader.search(Search("cart")).hits
        assert "sesame" not in hit.snippet.text
        assert "[redacted]" in hit.snippet.text


# -- exactly -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "case", "hits"),
    [
        ("def total(", False, [0]),
        ("otal(", False, [0]),
        ("->", False, [1]),
        ('"quoted"', False, [2]),
        ("cart.Total", False, [1]),
        ("cart.Total", True, [1]),
        ("cart.total", True, []),
        ("京都", False, [3]),
        ("é €", False, [4]),
        ("\\d+", False, [2]),
        ("nowhere(", False, []),
        ("Café", False, [4]),
        ("cafe", False, []),
    ],
)
def test_a_text_is_found_as_it_stands(
    tmp_path: Path, shelf: Shelf, text: str, case: bool, hits: list[int], packed: bool
) -> None:
    bodies = ["def total(cart):", "cart -> cart.Total", 'a "quoted" \\d+ one', "東京都", "Café € x"]
    keys = shelf.write(1, *map(said, bodies))
    if packed:
        pack_all(shelf.log)
        shelf.write(2, said("y" * 200_000))
    page = asked(tmp_path, text, exact=True, case=case)
    assert [hit.record for hit in page.hits] == [id_of(keys[number]) for number in hits]
    assert page.is_exact
    for hit in page.hits:
        ((start, end),) = hit.snippet.marks
        assert hit.snippet.text[start:end].lower() == text.lower()


def test_a_scan_goes_on_where_it_stopped(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = shelf.write(1, *[said(f"x({number}") for number in range(5)])
    first = asked(tmp_path, "x(", exact=True, limit=2)
    assert not first.is_exact
    monkeypatch.setattr(search, "SCAN_SECONDS", -1.0)
    second = asked(tmp_path, "x(", exact=True, limit=2, cursor=first.cursor)
    assert second.stopped
    assert second.hits == ()
    monkeypatch.undo()
    rest = asked(tmp_path, "x(", exact=True, limit=9, cursor=second.cursor)
    assert rest.cursor is None
    assert [hit.record for page in (first, rest) for hit in page.hits] == [id_of(key) for key in reversed(keys)]


def test_a_scan_looks_only_where_it_is_asked_to(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, said("x("))
    assert found(tmp_path, "x(", exact=True, roles=Role.USER) != []
    assert found(tmp_path, "x(", exact=True, roles=Role.ASSISTANT) == []


@pytest.mark.parametrize(("text", "told"), [(" ", "name a text"), ("x" * 1001, "1,000 characters")])
def test_a_text_that_cannot_be_looked_for_is_refused(tmp_path: Path, shelf: Shelf, text: str, told: str) -> None:
    shelf.write(1, said("x"))
    with pytest.raises(UsageError, match=told):
        asked(tmp_path, text, exact=True)


# -- what may be in the way --------------------------------------------------------------------------------------------


def test_without_archive_or_index_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no archive"), searching(tmp_path):
        pass
    EventLog(tmp_path, "boot").close()
    with pytest.raises(StoreError, match="there is no search index yet: it is made by"), searching(tmp_path):
        pass


def test_a_damaged_or_half_made_index_is_told_in_one_line(tmp_path: Path) -> None:
    EventLog(tmp_path, "boot").close()
    (tmp_path / SEARCH).write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="is no database"), searching(tmp_path):
        pass
    (tmp_path / SEARCH).write_bytes(b"")
    with pytest.raises(StoreError, match="another version's, or is being made"), searching(tmp_path):
        pass


def test_a_record_whose_block_is_damaged_is_one_line(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, said("cart"), said("x" * 200_000))
    with closing(SearchIndex(tmp_path)) as index:
        index.catch_up()
    pack_all(shelf.log)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("UPDATE blocks SET data = x'00'")
    with pytest.raises(StoreError, match="is damaged"):
        asked(tmp_path, "cart")
    with pytest.raises(StoreError, match="is damaged"):
        asked(tmp_path, "cart", exact=True)


def test_it_asks_while_the_index_is_being_built(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, *[said(f"cart {number}") for number in range(10)])
    with closing(SearchIndex(tmp_path)) as index:
        assert index.advance(100) is not None
        with searching(tmp_path) as reader:
            page = reader.search(Search("cart"))
            assert 0 < page.total < 10
            assert page.lag == 10 - page.total
            index.catch_up()
            assert reader.search(Search("cart")).total == 10
