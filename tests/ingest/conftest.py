"""A stage for each test; the books follow the journal without the pause that lets clients go first."""

from pathlib import Path

import pytest

from observatory.ingest import actor, reader
from tests.ingest.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(actor, "BOOKS_DELAY", 0.0)
    monkeypatch.setattr(reader, "GONE_DELAY", 0.0)
    return Stage(tmp_path)
