"""All scenarios: importing this module imports every rows_*.py, which register theirs."""

from importlib import import_module
from pathlib import Path

from tests.faults.rows import PENDING, ROWS, SCENARIOS, Scenario

for _path in sorted(Path(__file__).parent.glob("rows_*.py")):
    import_module(f"tests.faults.{_path.stem}")

__all__ = ["PENDING", "ROWS", "SCENARIOS", "Scenario"]
