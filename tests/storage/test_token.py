"""The token file: made once, readable by its owner only, and what is no good is one line."""

import os
import stat
from pathlib import Path

import pytest

from observatory.core.errors import UsageError, WorldError
from observatory.storage.token import TOKEN, TokenFile, ensure, read, replace


def test_it_is_made_at_the_first_start_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = ensure(path).current()
    assert TOKEN.fullmatch(token)
    assert len(token) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure(path).current() == read(path) == token
    assert os.listdir(tmp_path) == ["token"]


def test_a_replaced_file_counts_at_once_and_one_that_is_gone_or_no_good_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file = ensure(path)
    first = file.current()
    replace(path)
    second = file.current()
    assert second == read(path) != first
    path.unlink()
    assert file.current() == second
    path.write_text("short")
    assert file.current() == second
    replace(path)
    assert file.current() == read(path) != second


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_that_others_can_read_is_refused_with_its_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    ensure(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"chmod 600 {path}$"):
        ensure(path)


@pytest.mark.parametrize("content", [b"", b"short", b"with blanks in between", b"semi;colon-0123456789", b"\xff" * 20])
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="holds no token") as caught:
        TokenFile(path)
    assert "short" not in str(caught.value)


def test_a_file_that_cannot_be_made_or_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot be written \(No such file or directory\)"):
        ensure(tmp_path / "absent" / "token")
    with pytest.raises(WorldError, match=r"cannot be read \(No such file or directory\)"):
        read(tmp_path / "absent")


def test_the_token_is_in_no_repr(tmp_path: Path) -> None:
    file = ensure(tmp_path / "token")
    assert file.current() not in repr(file)
