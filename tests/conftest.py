"""Settings of all tests."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgres import Cluster, cluster

# Examples take as long as the machine lets them: a slow one is no failure, and the first draw fills caches.
settings.register_profile("observatory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("observatory")


@pytest.fixture(autouse=True)
def no_logs_of_other_tests() -> None:
    """A command that ran in this process, also for a fixture of several tests, has set up logs for itself."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL for all tests of this process; without one they are skipped."""
    with cluster() as made:
        yield made


@pytest.fixture
def supabase(postgres: Cluster) -> Iterator[str]:
    """The name of a new database as a project at Supabase has it."""
    name = postgres.supabase()
    yield name
    postgres.drop(name)
