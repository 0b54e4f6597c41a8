"""All scenarios: importing this module registers them."""

from tests.faults import (
    rows_actors,
    rows_bytes,
    rows_clients,
    rows_crowd,
    rows_damage,
    rows_handshake,
    rows_host,
    rows_process,
    rows_random,
    rows_reader,
    rows_requests,
    rows_resume,
    rows_roots,
    rows_store,
    rows_store_files,
    rows_subscribe,
    rows_watched,
)
from tests.faults.rows import PENDING, ROWS, SCENARIOS, Scenario

MODULES = (
    rows_actors,
    rows_bytes,
    rows_clients,
    rows_crowd,
    rows_damage,
    rows_handshake,
    rows_host,
    rows_process,
    rows_random,
    rows_reader,
    rows_requests,
    rows_resume,
    rows_roots,
    rows_store,
    rows_store_files,
    rows_subscribe,
    rows_watched,
)

__all__ = ["MODULES", "PENDING", "ROWS", "SCENARIOS", "Scenario"]
