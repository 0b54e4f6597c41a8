"""Saved positions: replaced as a whole, read back, and never guessed."""

from pathlib import Path

import pytest

from observatory.client.saved import SavedPosition
from observatory.core.errors import UsageError, WorldError
from observatory.core.events import Position


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    saved = SavedPosition(tmp_path / "place")
    assert saved.load() is None
    for seq in (7, 2**53 - 1, 8):
        saved.save(Position("k3x9q2", seq))
        assert SavedPosition(tmp_path / "place").load() == Position("k3x9q2", seq)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_others_cannot_read_it(tmp_path: Path) -> None:
    SavedPosition(tmp_path / "place").save(Position("k3x9q2", 7))
    assert (tmp_path / "place").stat().st_mode & 0o777 == 0o600


def test_a_program_that_ended_while_saving_leaves_the_old_position(tmp_path: Path) -> None:
    saved = SavedPosition(tmp_path / "place")
    saved.save(Position("k3x9q2", 7))
    (tmp_path / "place.new").write_text("k3x")
    assert saved.load() == Position("k3x9q2", 7)
    saved.save(Position("k3x9q2", 8))
    assert saved.load() == Position("k3x9q2", 8)


@pytest.mark.parametrize("text", ["", "k3x9q2", "k3x9q2:", ":7", "k3x9q2:-7", "k3x9q2:7 8", "\0" * 40, "é:7"])
def test_a_file_that_holds_something_else_is_the_users_to_decide(tmp_path: Path, text: str) -> None:
    (tmp_path / "place").write_text(text)
    with pytest.raises(UsageError, match="place holds no position; delete it to begin anew"):
        SavedPosition(tmp_path / "place").load()


def test_what_cannot_be_read_or_written_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot be written: No such file"):
        SavedPosition(tmp_path / "nowhere" / "place").save(Position("k3x9q2", 7))
    with pytest.raises(WorldError, match="cannot be read: Is a directory"):
        SavedPosition(tmp_path).load()
