"""A stage in virtual time for each test."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.ingest.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, autojump_clock: MockClock) -> Stage:
    return Stage(tmp_path)
