"""The oracle is itself tested: each planted bug is caught, and without it the same seeds pass."""

import pytest

from tests.faults.catalogue import SCENARIOS
from tests.faults.planted import PLANTS
from tests.faults.play import play

SEEDS = 1000


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    plant, scenario, step = PLANTS[name]
    for seed in range(SEEDS):
        with plant():
            report = play(SCENARIOS[scenario], seed, step)
        if report.error is not None:
            if not isinstance(report.error, AssertionError):
                raise report.error
            print(f"{name}: seed {seed}: {report.error}")
            assert play(SCENARIOS[scenario], seed, step).error is None
            return
    raise AssertionError(f"not caught within {SEEDS} seeds")
