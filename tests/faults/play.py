"""Play a scenario: one seed, one clock, one order of tasks, and everything it logged."""

import hashlib
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import structlog.testing
import trio
import trio.testing
from trio._core import _run as scheduler

from tests.faults.rows import Scenario
from tests.faults.simworld import Looker, SimWorld
from tests.faults.sockets import ProcessWorld, SocketWorld
from tests.faults.world import World

LEVELS: dict[int, type[World]] = {0: SimWorld, 1: SocketWorld, 2: ProcessWorld}
REAL_SECONDS = 60  # then a run hangs


@attrs.frozen
class Report:
    """What a run came to. trace: a hash over what every client saw, in order; the same for the same seed at level 0."""

    scenario: Scenario
    seed: int
    step: Any
    error: BaseException | None
    trace: str
    seconds: float
    logged: tuple[dict[str, Any], ...]

    @property
    def again(self) -> str:
        """The command that plays it again."""
        step = "" if self.step is None else f" --step {self.step}"
        return f"python -m tests.faults {self.scenario.name} --seed {self.seed}{step}"


def play(scenario: Scenario, seed: int, step: Any = None) -> Report:
    """Play a scenario with a seed, and one step of its sweep if it has one."""
    start, digest, error = time.perf_counter(), hashlib.sha256(), None
    fds = _descriptors()
    with tempfile.TemporaryDirectory(prefix="fault-") as folder, structlog.testing.capture_logs() as logged:
        try:
            _run(Path(folder), scenario, seed, step, logged, digest)
            assert (left := _descriptors()) == fds, f"V2: {left - fds} descriptors are left"
        except Exception as failure:
            error = _alone(failure)
    return Report(
        scenario, seed, step, error, digest.hexdigest()[:16], time.perf_counter() - start, tuple(map(dict, logged))
    )


def _run(directory: Path, scenario: Scenario, seed: int, step: Any, logged: list[Any], digest: "hashlib._Hash") -> None:
    before, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, random.getstate()
    clock = trio.testing.MockClock(autojump_threshold=0) if scenario.level == 0 else None
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(REAL_SECONDS)
    try:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
        scheduler._r.seed(seed)
        random.seed(seed)
        trio.run(_play, directory, scenario, seed, step, logged, digest, clock=clock)
    finally:
        signal.alarm(0)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        random.setstate(state)


async def _play(
    directory: Path, scenario: Scenario, seed: int, step: Any, logged: list[Any], digest: "hashlib._Hash"
) -> None:
    async with trio.open_nursery() as nursery:
        world = LEVELS[scenario.level](directory, seed, nursery, logged=logged)
        if isinstance(world, SimWorld):
            trio.lowlevel.add_instrument(Looker(world))
        try:
            await scenario.function(world, *(() if step is None else (step,)))
            await world.finish(scenario.may_log)
        finally:
            world.clean_up()
            for peer in world.peers.values():
                seen = [(session.seqs, session.code, session.refused) for session in peer.sessions]
                digest.update(repr((peer.name, seen)).encode())
        nursery.cancel_scope.cancel()


def _hangs(number: int, frame: object) -> None:
    raise AssertionError(f"it hangs: no end within {REAL_SECONDS} s of real time")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _alone(error: BaseException) -> BaseException:
    """The first of what came together: a delivery gone wrong is seen by several clients."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
