"""The plan of a server's end: which client is closed when, and when it may come back (protocol.md §11).

Clients that are closed together come back together, and many draw no delay of their own: so the server draws both.
"""

from collections.abc import Callable

import attrs

SHORTEST = 1.0  # seconds: also a few clients are not closed in one moment
RECONNECT_MS = (500, 5000)  # bounds of the delay that a client is told; the upper one grows by the window
FINE = 1 << 20  # steps of a slice within which a close is drawn

Draw = Callable[[int, int], int]  # a whole number from low to high, both included


@attrs.frozen
class Pace:
    """How fast a server empties itself.

    longest: seconds over which closes are spread at most. rate: closes a second, if that takes no longer.
    grace: seconds after the last planned close until what remains is reset.
    """

    longest: float = 30.0
    rate: int = 500
    grace: float = 5.0

    def window(self, clients: int) -> float:
        """Seconds over which so many closes are spread."""
        return min(self.longest, max(SHORTEST, clients / self.rate))


@attrs.frozen
class Slot:
    """One client's end: seconds from now to its close, and the delay it is told, counted from that close."""

    due: float
    reconnect_after_ms: int


@attrs.frozen
class Plan:
    """slots: one a client, in the order of the clients."""

    window: float
    slots: tuple[Slot, ...]


def plan(clients: int, pace: Pace, draw: Draw) -> Plan:
    """Draw everyone's slot: evenly, because the window is cut into as many slices as there are clients, and at random,
    because it is drawn who gets which slice and where in it the close is."""
    window = pace.window(clients)
    lowest, highest = RECONNECT_MS[0], RECONNECT_MS[1] + round(window * 1000)
    lots = [draw(0, 1 << 62) for _ in range(clients)]
    order = sorted(range(clients), key=lots.__getitem__)
    dues = {client: (place + draw(0, FINE) / FINE) * window / clients for place, client in enumerate(order)}
    return Plan(window, tuple(Slot(dues[client], draw(lowest, highest)) for client in range(clients)))
