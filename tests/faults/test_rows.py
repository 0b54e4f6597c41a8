"""Every scenario of the catalogue, with its fixed seeds and whole sweeps. A failure says how to play it again."""

import traceback

import pytest

from tests.faults.__main__ import plays
from tests.faults.catalogue import SCENARIOS
from tests.faults.play import play


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_scenario(name: str) -> None:
    for scenario, seed, step in plays(SCENARIOS[name]):
        report = play(scenario, seed, step)
        if report.error is not None:
            told = "".join(traceback.format_exception(report.error))
            pytest.fail(f"{scenario.title}\nagain: {report.again}\n\n{told}", pytrace=False)
