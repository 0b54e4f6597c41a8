"""The catalogue is whole: every row has its scenario, or waits for a part that does not exist."""

from importlib.util import find_spec

import pytest

from tests.faults.__main__ import listing
from tests.faults.catalogue import PENDING, ROWS, SCENARIOS
from tests.faults.play import play


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_scenario_or_waits_for_its_part(row: str) -> None:
    played = any(row in scenario.rows for scenario in SCENARIOS.values())
    assert played != (row in PENDING), f"{row} {'is played and pending' if played else 'has no scenario'}"


def test_no_row_waits_for_a_part_that_is_there() -> None:
    landed = {row: part for row, part in PENDING.items() if find_spec(part) is not None}
    assert not landed, f"these rows need scenarios now: {landed}"


def test_the_list_names_every_row_and_every_scenario() -> None:
    shown = listing()
    assert all(f"\n{row}  " in f"\n{shown}" for row in ROWS)
    assert all(name in shown for name in SCENARIOS)


def test_the_same_seed_is_the_same_run_and_another_seed_another() -> None:
    scenario = SCENARIOS["anything_at_all"]
    first, again, other = (play(scenario, seed).trace for seed in (3, 3, 4))
    assert first == again != other
