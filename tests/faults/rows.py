"""The registry: which scenario proves which row of the fault catalogue, and which rows wait for parts not built yet."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs

ROWS = {
    **{f"N{n:02}": text for n, text in enumerate((
        "client stops reading", "reads slowly, then recovers", "trickle", "write blocks for ever",
        "write cut, then stall", "RST while sending", "EOF, RST or OSError at the n-th call", "half-open peer",
        "client process frozen",
        "floods requests, never reads replies", "slowloris handshake", "connects and says nothing",
        "malformed frames", "foreign origin, host, token in URL", "all clients return at once; drain",
    ), 1)},
    **{f"D{n:02}": text for n, text in enumerate((
        "publish at any point of subscribe or resume", "publish during replay", "trimmed while away or under a replay",
        "each refusal reason", "many reconnects without new events", "requests in all orders",
        "filter replaced under load", "a handler, filter or encoder raises", "wall clock jumps", "event loop stalled",
        "128 topics; 10,000 equal subscriptions",
    ), 1)},
    **{f"R{n:02}": text for n, text in enumerate((
        "torn last line", "glued records", "stub of a killed write", "run of NULs", "bad bytes and shapes",
        "huge lines", "truncated, rewritten", "renamed, moved, copied, inode reused", "deleted and recreated",
        "directory raced with its watch", "watcher queue overflow", "root missing, removed, unreadable; watch limit",
        "FIFO, socket, symlink loop", "read hangs or EIO", "1,000 files, one byte a write",
    ), 1)},
    **{f"S{n:02}": text for n, text in enumerate((
        "disk full", "database locked", "corrupt store", "read-only", "power loss undoes commits",
        "kill around commit and publish", "slow commits", "second server on the directory", "other schema version",
    ), 1)},
    **{f"K{n:02}": text for n, text in enumerate((
        "sink down", "5xx", "429", "timeout after it was applied", "one bad row", "revoked key, slow body",
    ), 1)},
    **{f"E{n:02}": text for n, text in enumerate((
        "engine absent or killed", "frozen", "restarted empty", "connection killed in a read", "trimmed past us",
        "append with unknown outcome",
    ), 1)},
    **{f"H{n:02}": text for n, text in enumerate((
        "descriptors exhausted", "SIGTERM at bad moments", "kill -9 at random points",
        "an actor raises at its n-th step", "stderr full", "worker threads hung", "10,000 clients behind",
    ), 1)},
}  # fmt: skip

Function = Callable[..., Awaitable[None]]


@attrs.frozen
class Scenario:
    """One scenario. sweep: played once for each of these; seeds: how often by default, with seeds 0, 1, …"""

    name: str
    rows: tuple[str, ...]
    level: int
    function: Function
    sweep: tuple[Any, ...] = ()
    seeds: int = 1
    may_log: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Its first line of documentation, or its name in words."""
        return (self.function.__doc__ or self.name.replace("_", " ")).strip().splitlines()[0]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *rows: str, level: int = 0, sweep: Iterable[Any] = (), seeds: int = 1, may_log: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """Register a scenario for rows of the catalogue. may_log: error events that belong to the fault."""
    unknown = [row for row in rows if row not in ROWS]
    assert rows
    assert not unknown, f"no rows of the catalogue: {unknown}"

    def register(function: Function) -> Function:
        name = function.__name__
        assert name not in SCENARIOS, f"two scenarios are called {name}"
        SCENARIOS[name] = Scenario(name, rows, level, function, tuple(sweep), seeds, frozenset(may_log))
        return function

    return register


# Rows whose part does not exist yet: the module that makes it exist. The catalogue test fails when one of these can be
# imported and its row is still pending.
PENDING = {
    **dict.fromkeys((f"E{n:02}" for n in range(1, 7)), "observatory.engines"),
}
