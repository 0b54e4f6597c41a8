"""All scenarios: importing this module registers them."""

from tests.faults import (
    rows_clients,
    rows_crowd,
    rows_handshake,
    rows_process,
    rows_random,
    rows_requests,
    rows_store,
)
from tests.faults.rows import PENDING, ROWS, SCENARIOS, Scenario

MODULES = (rows_clients, rows_crowd, rows_handshake, rows_process, rows_random, rows_requests, rows_store)

__all__ = ["MODULES", "PENDING", "ROWS", "SCENARIOS", "Scenario"]
