"""The index brought up to date where no server does it."""

import io
import sys
from pathlib import Path

import pytest

from observatory.cli import indexing
from observatory.storage.search_steps import drop
from tests.cli.keeping import NEW, imported, write
from tests.cli.test_tag import serving


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_a_terminal_when_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "aaaaaaaa-1", 3, NEW)
    imported(tmp_path)
    drop(tmp_path / "data")
    monkeypatch.setattr(indexing, "SHOW_AFTER", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    indexing.bring_up_to_date(tmp_path / "data")
    assert isinstance(sys.stderr, Terminal)
    assert "indexing for search" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    indexing.bring_up_to_date(tmp_path / "data")
    assert sys.stderr.getvalue() == ""


def test_a_server_that_runs_does_it_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "aaaaaaaa-1", 3, NEW)
    with serving(tmp_path):
        indexing.bring_up_to_date(tmp_path / "data")
