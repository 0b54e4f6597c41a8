"""AtSteps: something happens between two steps of tasks, in nobody's task, at the i-th step from now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio


@attrs.define(eq=False)
class AtSteps(trio.abc.Instrument):
    """`act` is called before each step whose number, from 1, is `wanted`. acted: how often that was."""

    wanted: Callable[[int], bool]
    act: Callable[[], None]
    steps: int = 0
    acted: int = 0
    failure: Exception | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more step is about to be made."""
        self.steps += 1
        if self.failure is None and self.wanted(self.steps):
            self.acted += 1
            try:
                self.act()
            except Exception as failure:  # trio would switch the instrument off and go on
                self.failure = failure


@contextmanager
def at_steps(wanted: Callable[[int], bool], act: Callable[[], None]) -> Iterator[AtSteps]:
    """While the block runs; what `act` raises is raised at its end."""
    instrument = AtSteps(wanted, act)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument
    finally:
        trio.lowlevel.remove_instrument(instrument)
    if instrument.failure is not None:
        raise instrument.failure
