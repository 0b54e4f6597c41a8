"""All scenarios: importing this module registers them."""

from tests.faults import (
    rows_actors,
    rows_clients,
    rows_damage,
    rows_host,
    rows_process,
    rows_random,
    rows_store,
    rows_store_files,
)
from tests.faults.rows import PENDING, ROWS, SCENARIOS, Scenario

MODULES = (rows_actors, rows_clients, rows_damage, rows_host, rows_process, rows_random, rows_store, rows_store_files)

__all__ = ["MODULES", "PENDING", "ROWS", "SCENARIOS", "Scenario"]
