"""The fault harness as a command.

python -m tests.faults --list
python -m tests.faults NAME|ROW … [--seed N] [--step S]
python -m tests.faults --all
python -m tests.faults --random --minutes N
"""

import argparse
import ast
import random
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from tests.bench.figures import table
from tests.faults.catalogue import PENDING, ROWS, SCENARIOS, Scenario
from tests.faults.play import Report, play


def main() -> int:
    """0: all passed, 1: some failed, 2: usage."""
    opts = options()
    if opts.list:
        print(listing())
        return 0
    reports: list[Report] = []
    for scenario, seed, step in chosen(opts):
        report = play(scenario, seed, step)
        reports.append(report)
        if report.error is not None:
            told(report)
    print(summary(reports))
    return 1 if any(report.error for report in reports) else 0


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Play fault scenarios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a scenario, or a row such as N05")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--all", action="store_true", help="every scenario, with its fixed seeds and whole sweeps")
    parser.add_argument("--random", action="store_true", help="random scenarios of level 0 with random seeds")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long with --random (10)")
    parser.add_argument("--seed", type=int, help="instead of the fixed ones")
    parser.add_argument("--step", help="one step of a sweep")
    opts = parser.parse_args()
    if not (opts.names or opts.list or opts.all or opts.random):
        parser.error("say what to play: a NAME, --all, --random, or --list")
    unknown = [name for name in opts.names if not list(named(name))]
    if unknown:
        parser.error(f"no scenario and no row with one: {', '.join(unknown)}; see --list")
    return opts


def named(name: str) -> Iterator[Scenario]:
    """Scenarios with this name, or of this row."""
    return (one for one in SCENARIOS.values() if name == one.name or name in one.rows)


def chosen(opts: argparse.Namespace) -> Iterator[tuple[Scenario, int, Any]]:
    """What to play, in order."""
    if opts.random:
        yield from at_random(opts.minutes, opts.seed)
        return
    scenarios = SCENARIOS.values() if opts.all else [one for name in opts.names for one in named(name)]
    for one in scenarios:
        yield from plays(one, opts.seed, opts.step)


def plays(one: Scenario, seed: int | None = None, step: str | None = None) -> Iterator[tuple[Scenario, int, Any]]:
    """A scenario with its seeds and steps."""
    steps: Iterable[Any] = (_value(step),) if step is not None else one.sweep or (None,)
    for number in range(one.seeds) if seed is None else (seed,):
        for value in steps:
            yield one, number, value


def at_random(minutes: float, seed: int | None) -> Iterator[tuple[Scenario, int, Any]]:
    """Scenarios of level 0, until the time is over."""
    first = random.randrange(2**32) if seed is None else seed
    print(f"random, seed {first}")
    draw, end = random.Random(first), time.monotonic() + minutes * 60
    quick = [one for one in SCENARIOS.values() if one.level == 0]
    while time.monotonic() < end:
        one = draw.choice(quick)
        yield one, draw.randrange(2**32), draw.choice(one.sweep) if one.sweep else None


def told(report: Report) -> None:
    """A failure, and how to see it again."""
    assert report.error is not None
    traceback.print_exception(report.error)
    print(f"FAILED: {report.scenario.title}\n        {report.again}", flush=True)


def listing() -> str:
    """Rows with their scenarios."""
    lines = []
    for row, text in ROWS.items():
        mine = [one for one in SCENARIOS.values() if row in one.rows]
        lines.append(f"{row}  {text}")
        lines += [f"       {one.name} (level {one.level}, {_times(one)})" for one in mine]
        if not mine:
            lines.append(f"       pending: {PENDING.get(row, 'no scenario yet')}")
    return "\n".join(lines)


def summary(reports: list[Report]) -> str:
    """The table at the end."""
    rows = []
    for one in {report.scenario.name: report.scenario for report in reports}.values():
        mine = [report for report in reports if report.scenario is one]
        failed = sum(report.error is not None for report in mine)
        verdict = "passed" if not failed else f"{failed} FAILED"
        seconds = sum(report.seconds for report in mine)
        rows.append([" ".join(one.rows), one.name, str(one.level), str(len(mine)), f"{seconds:.1f}", verdict])
    return table(["rows", "scenario", "level", "runs", "seconds", "verdict"], sorted(rows))


def _times(one: Scenario) -> str:
    return f"{one.seeds * max(1, len(one.sweep))} runs"


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
