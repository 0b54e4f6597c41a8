"""Destination: what the pusher needs of a database. Both adapters pass the same tests."""

from typing import Protocol

import attrs

from observatory.core.mirror_verdict import Verdict
from observatory.sinks.step import Step


@attrs.frozen
class About:
    """version: of its tables; 0: there are none. registered: whether it knows this machine. rows: whether it has rows
    of it. skew: seconds that its clock is ahead. privileged: whether the policies do not bind this login."""

    version: int
    registered: bool
    rows: bool
    skew: float
    privileged: bool = False


@attrs.define
class Failed(Exception):
    """Nothing, or not all, of what was sent is there."""

    verdict: Verdict

    def __str__(self) -> str:
        return self.verdict.reason


class Destination(Protocol):
    """One request at a time. All methods raise Failed."""

    async def look(self, machine_id: str) -> About:
        """What is on the other side."""
        ...

    async def write(self, step: Step) -> None:
        """Its deletes, then its rows; what is there already is replaced. Sending it twice is sending it once."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...
