"""Orders: what the three fan-out servers share. Standard library only: a peer runs it in an environment of its own.

A server listens on the port it is given, reads one line `go:MESSAGES:SIZE:INTERVAL_US` from standard input, sends so
many messages of SIZE bytes to every client, and ends at end of file. A message holds `"stamp":<CLOCK_MONOTONIC ns>`.
"""

import resource
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """messages: to every client; size: bytes of a message; interval: seconds between two, 0 = as fast as possible."""

    messages: int
    size: int
    interval: float

    def line(self) -> bytes:
        """As a server reads it."""
        return f"go:{self.messages}:{self.size}:{round(self.interval * 1e6)}\n".encode()


def parse(line: bytes) -> Order:
    """The inverse of Order.line. Raises ValueError."""
    word, messages, size, interval_us = line.decode().strip().split(":")
    if word != "go":
        raise ValueError(f"unknown order {word!r}")
    return Order(int(messages), int(size), int(interval_us) / 1e6)


def next_due(due: float, now: float, interval: float) -> float:
    """When the next message is due: on a fixed beat, but what was late is not made up for in a burst."""
    return max(due + interval, now)


def stamped(size: int) -> str:
    """A message of exactly `size` bytes with the moment it was made."""
    head = f'{{"stamp":{time.monotonic_ns()},"pad":"'
    return head + "x" * (size - len(head) - 2) + '"}'


def raise_fd_limit() -> None:
    """One descriptor per client."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
