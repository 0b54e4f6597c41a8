"""The list of proofs in this package's docstring names tests that exist."""

import re
from pathlib import Path

import tests.actors

HERE = Path(__file__).parent
LISTED = re.findall(r"(\w+): (test_\w+)", tests.actors.__doc__ or "")
ROWS = re.findall(r"^([WPIR]\d+) ", tests.actors.__doc__ or "", re.MULTILINE)


def test_every_proof_that_is_listed_exists() -> None:
    missing = [
        (module, name) for module, name in LISTED if f"def {name}(" not in (HERE / f"{module}.py").read_text("utf-8")
    ]
    assert not missing


def test_every_row_has_its_proof() -> None:
    wanted = [f"W{n}" for n in range(1, 11)] + [f"P{n}" for n in range(1, 9)] + [f"I{n}" for n in range(2, 6)]
    assert [*wanted, "R08", "R09", "R10", "R11", "R12", "R13", "R15"] == ROWS
    assert len(LISTED) > len(ROWS)
