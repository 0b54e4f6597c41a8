"""Settings of all tests."""

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Examples take as long as the machine lets them: a slow one is no failure, and the first draw fills caches.
settings.register_profile("observatory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("observatory")


@pytest.fixture(autouse=True)
def no_logs_of_other_tests() -> None:
    """A command that ran in this process, also for a fixture of several tests, has set up logs for itself."""
    structlog.reset_defaults()
