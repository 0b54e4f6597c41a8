"""What holds for every test here."""

import gc

import pytest


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    """Descriptors are counted: what other tests left to the collector must not be closed meanwhile."""
    gc.collect()
