"""The promise of a search, on the real transcripts: every term of a record finds that record."""

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from observatory.cli.main import main
from observatory.core.batch import key_of_id
from observatory.core.errors import UsageError
from observatory.core.search_page import Search
from observatory.core.search_query import parse
from observatory.core.search_text import passages_of
from observatory.core.search_words import pieces
from observatory.storage.bodies import Bodies
from observatory.storage.search import searching
from observatory.storage.search_steps import SEARCH, attached

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", ROOT.parent / "shared" / "transcripts")).resolve()

if not SAMPLES.is_dir():
    pytest.skip(f"no sample transcripts at {SAMPLES}", allow_module_level=True)

RECORDS, TERMS = 250, 60  # drawn; terms of one record that are looked for


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("samples")
    shutil.copytree(SAMPLES / "projects", directory / "root/projects")
    words = ["import", "--root", str(directory / "root"), "--data-dir", str(directory / "data")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return directory / "data"


def records(db: sqlite3.Connection, seed: int) -> Iterator[tuple[int, int, list[str]]]:
    """Document, record and texts of records drawn."""
    drawn = random.Random(seed)
    rows = db.execute(
        "SELECT d.id, d.record, r.codec, r.body FROM docs AS d JOIN archive.records AS r ON r.id = d.record"
    )
    bodies = Bodies(db)
    for doc, key, codec, stored in drawn.sample(rows.fetchall(), RECORDS):
        yield doc, key, [passage.text for passage in passages_of(bodies.of(key, codec, stored))]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_term_of_a_record_finds_that_record(data: Path, seed: int) -> None:
    looked_for = 0
    with closing(attached(data)) as db:
        for doc, _, texts in records(db, seed):
            terms = {term for text in texts for term in text.split() if pieces(term) and len(term) < 500}
            for term in sorted(terms)[:TERMS]:
                quoted = '"{}"'.format(term.replace('"', " "))
                query = "SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?"
                assert db.execute(query, (parse(quoted).expression(), doc)).fetchone(), term
                looked_for += 1
    assert looked_for > 3000


def test_what_stands_in_a_record_is_found_exactly_and_shown(data: Path) -> None:
    drawn = random.Random(3)
    with closing(attached(data)) as db, searching(data) as reader:
        for _, key, texts in list(records(db, 3))[:40]:
            text = max(texts, key=len)
            start = drawn.randrange(max(1, len(text) - 30))
            part = text[start : start + 30]
            try:
                page = reader.search(Search(part, exact=True, case=True, limit=200))
            except UsageError:
                assert not part.strip()
                continue
            hits = [hit for hit in page.hits if key_of_id(hit.record) == key]
            copy = db.execute("SELECT flags & 3 FROM docs WHERE record = ?", (key,)).fetchone()[0]
            assert hits or copy or not page.is_exact, part
            for hit in hits:
                assert hit.snippet.marks


def test_the_index_is_small(data: Path) -> None:
    source = sum(path.stat().st_size for path in (SAMPLES / "projects").rglob("*.jsonl"))
    assert (data / SEARCH).stat().st_size < 0.25 * source  # a large history takes less: words are met again
