"""Errands: a file asks, a file answers; what cannot be read is put away."""

from pathlib import Path

import pytest

from observatory.core.forgetting import Target
from observatory.storage import errands

TARGET = Target("conversation", "c")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_an_errand_is_asked_taken_and_answered(tmp_path: Path) -> None:
    asked = errands.FORGET.ask(tmp_path, TARGET)
    assert (tmp_path / errands.FORGET.request).stat().st_mode & 0o777 == 0o600
    assert errands.FORGET.answer(tmp_path, asked) is None
    assert errands.FORGET.take(tmp_path) == asked
    assert names(tmp_path) == {errands.FORGET.taken}
    errands.FORGET.finish(tmp_path, asked, {"records": 3})
    assert errands.FORGET.answer(tmp_path, asked) == {"id": asked.id, "records": 3}
    assert names(tmp_path) == set()


def test_only_one_errand_waits_at_a_time_and_only_a_waiting_one_can_be_withdrawn(tmp_path: Path) -> None:
    errands.FORGET.ask(tmp_path, TARGET)
    with pytest.raises(FileExistsError):
        errands.FORGET.ask(tmp_path, TARGET)
    assert errands.FORGET.withdraw(tmp_path)
    assert not errands.FORGET.withdraw(tmp_path)
    assert errands.FORGET.take(tmp_path) is None


def test_what_a_server_had_taken_comes_first_at_the_next_start(tmp_path: Path) -> None:
    first = errands.FORGET.ask(tmp_path, TARGET)
    assert errands.FORGET.take(tmp_path) == first
    second = errands.FORGET.ask(tmp_path, Target("project", "p"))
    assert errands.FORGET.take(tmp_path) == first
    errands.FORGET.finish(tmp_path, first, {})
    assert errands.FORGET.take(tmp_path) == second


def test_an_answer_to_another_errand_is_none(tmp_path: Path) -> None:
    old = errands.FORGET.ask(tmp_path, TARGET)
    errands.FORGET.take(tmp_path)
    errands.FORGET.finish(tmp_path, old, {})
    assert errands.FORGET.answer(tmp_path, errands.FORGET.ask(tmp_path, TARGET)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"id":"1"}',
        b'{"id":"1","target":{"kind":"all","id":"c"}}',
        b'{"id":"1","target":{"x":1}}',
    ],
)
def test_what_is_no_errand_is_put_away(tmp_path: Path, data: bytes) -> None:
    (tmp_path / errands.FORGET.request).write_bytes(data)
    assert errands.FORGET.take(tmp_path) is None
    assert names(tmp_path) == set()


def test_what_cannot_be_read_or_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / errands.FORGET.request).mkdir()
    assert errands.FORGET.take(tmp_path) is None
    (tmp_path / errands.FORGET.result).mkdir()
    errands.FORGET.finish(tmp_path, errands.Errand("1", TARGET), {})
    assert errands.FORGET.is_open(tmp_path)


def test_an_import_asks_for_roots_and_the_server_tells_how_far_it_is(tmp_path: Path) -> None:
    asked = errands.IMPORT.ask(tmp_path, ("/a", "/b"))
    assert errands.IMPORT.told(tmp_path) is None
    taken = errands.IMPORT.take(tmp_path)
    assert taken == asked
    assert errands.IMPORT.told(tmp_path) is None
    errands.IMPORT.tell(tmp_path, asked, {"files_done": 3})
    assert errands.IMPORT.told(tmp_path) == {"files_done": 3}
    assert errands.IMPORT.take(tmp_path) == asked  # by the next server
    assert errands.FORGET.take(tmp_path) is None


def test_an_abandoned_errand_is_gone_wherever_it_lies_but_not_that_of_another(tmp_path: Path) -> None:
    first = errands.IMPORT.ask(tmp_path, ("/a",))
    errands.IMPORT.take(tmp_path)
    second = errands.IMPORT.ask(tmp_path, ("/b",))
    errands.IMPORT.abandon(tmp_path, first)
    assert names(tmp_path) == {errands.IMPORT.request}
    errands.IMPORT.abandon(tmp_path, second)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("roots", [b'"/a"', b"[1]", b'["a"]', b"{}"])
def test_what_is_no_list_of_roots_is_put_away(tmp_path: Path, roots: bytes) -> None:
    (tmp_path / errands.IMPORT.request).write_bytes(b'{"id":"1","roots":' + roots + b"}")
    assert errands.IMPORT.take(tmp_path) is None
    assert names(tmp_path) == set()
