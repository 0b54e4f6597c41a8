"""A file written anew: where the archive has every byte, and where it has not."""

from pathlib import Path

import attrs
import pytest

from observatory.core.batch import Flag, record_key
from observatory.core.forgetting import FORGOTTEN
from observatory.core.transcript import OVERSIZE
from observatory.export.lines import REASONS, Copy, Gap
from observatory.storage.conversations import File, Stored

FILE = File(1, "/r/1.jsonl", 0, 0, 0, False, 0)


def stored(offset: int, body: bytes, length: int | None = None, span: int | None = None, **more: object) -> Stored:
    length = len(body) if length is None else length
    made = Stored(record_key(1, 0, offset), 0, length, length + 1 if span is None else span, 0, None, body)
    return attrs.evolve(made, **more)  # type: ignore[arg-type]


def copied(*records: Stored, end: int, **file: object) -> tuple[bytes, list[Gap]]:
    copy = Copy(attrs.evolve(FILE, end=end, **{"size": end, **file}))  # type: ignore[arg-type]
    return b"".join(copy.pieces(iter(records))), copy.gaps


def test_lines_are_followed_by_their_newlines() -> None:
    assert copied(stored(0, b"one"), stored(4, b"two"), end=8) == (b"one\ntwo\n", [])
    assert copied(end=0) == (b"", [])


def test_a_carriage_return_and_a_byte_order_mark_are_put_back() -> None:
    assert copied(stored(0, b"one", 4), stored(5, b"two", 4), end=10) == (b"one\r\ntwo\r\n", [])
    assert copied(stored(0, b"one", 6), end=7) == (b"\xef\xbb\xbfone\n", [])
    assert copied(stored(0, b"one", 7), end=8) == (b"\xef\xbb\xbfone\r\n", [])


def test_glued_records_stand_side_by_side() -> None:
    assert copied(stored(0, b"{1}", span=3), stored(3, b"{2}"), end=7) == (b"{1}{2}\n", [])


def test_an_end_without_newline_gets_none() -> None:
    assert copied(stored(0, b"one"), stored(4, b"two", flags=Flag.TAIL), end=4, size=7) == (b"one\ntwo", [])


def test_blank_lines_are_newlines_and_told() -> None:
    assert copied(stored(0, b"one", span=6), stored(6, b"two"), end=10) == (b"one\n\n\ntwo\n", [Gap(3, 3, "blank")])
    assert copied(stored(2, b"one"), end=6) == (b"\n\none\n", [Gap(0, 2, "blank")])


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (stored(0, b"[red]", 9, flags=Flag.REDACTED), "redacted"),
        (stored(0, b"", 9, error=FORGOTTEN), "forgotten"),
        (stored(0, b"begi", 9, error=OVERSIZE), "oversize"),
        (stored(0, b"begin", 12), "missing"),
    ],
)
def test_what_is_not_as_it_was_is_told_with_its_place(record: Stored, why: str) -> None:
    _, gaps = copied(record, end=record.length + 1)
    assert [(gap.offset, gap.length, gap.why) for gap in gaps] == [(0, record.length, why)]
    assert why in REASONS


def test_what_was_pruned_and_what_was_not_whole_yet_is_told() -> None:
    assert copied(stored(4, b"two"), end=8, pruned=4, size=11) == (b"two\n", [Gap(0, 4, "pruned"), Gap(8, 3, "torn")])


def test_a_reader_gives_every_sample_back(samples_home: Path) -> None:
    from observatory.storage.conversations import conversations

    with conversations(samples_home / "data") as reader:
        projects = {id for (id,) in reader._db.execute("SELECT id FROM conversations")}
        for id in projects:
            for file in reader.files(id):
                copy = Copy(file)
                assert b"".join(copy.pieces(reader.lines(file))) == Path(file.path).read_bytes(), file.path
                assert copy.gaps == []
    assert len(projects) == 35


@pytest.fixture(scope="module")
def samples_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import os
    import shutil

    from click.testing import CliRunner

    from observatory.cli.main import main
    from tests.cli.test_search_samples import SAMPLES

    directory = tmp_path_factory.mktemp("samples")
    shutil.copytree(SAMPLES / "projects", directory / "root/projects")
    for path in (directory / "root").rglob("*.jsonl"):
        path.chmod(0o644)
        os.utime(path, (1_700_000_000, 1_700_000_000))  # at rest: last lines may lack their newline for good
    words = ["import", "--root", str(directory / "root"), "--data-dir", str(directory / "data")]
    assert CliRunner().invoke(main, words).exit_code == 0
    return directory
