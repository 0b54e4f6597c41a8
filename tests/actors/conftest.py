"""What several tests of the actors stand on."""

import time

import pytest
import trio

from actors.router import Router
from tests.actors.fakes import EVERYONE


@pytest.fixture
def router(nursery: trio.Nursery) -> Router[str]:
    """A Router that runs."""
    made: Router[str] = Router(EVERYONE, 0, 64, time.monotonic_ns)
    nursery.start_soon(made.run)
    return made
