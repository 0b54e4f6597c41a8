"""A stage for each test; the books follow the journal without the pause that lets clients go first.

Where stored bodies are read back, each test is run over an archive of packed ones too.
"""

from pathlib import Path

import pytest

from observatory.ingest import actor, reader
from tests.ingest.stage import Stage
from tests.storage.packing import pack_eagerly

READING_BACK = ("copies", "forget", "generations", "moves", "restart", "tails")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    reads_back = metafunc.module.__name__.rpartition(".test_")[2] in READING_BACK
    if reads_back and "stage" in metafunc.fixturenames:
        metafunc.parametrize("stage", ["as read", "packed"], indirect=True)


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    if getattr(request, "param", "as read") == "packed":
        pack_eagerly(monkeypatch)
    monkeypatch.setattr(actor, "BOOKS_DELAY", 0.0)
    monkeypatch.setattr(reader, "GONE_DELAY", 0.0)
    return Stage(tmp_path)
