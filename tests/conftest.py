"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# Examples take as long as the machine lets them: a slow one is no failure, and the first draw fills caches.
settings.register_profile("observatory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("observatory")
