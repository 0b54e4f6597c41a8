"""The roster: who is connected, and the last thousand that were, each with how it went."""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import nlargest
from typing import Any

import attrs

from observatory.core.replies import PROTOCOL, rfc3339
from observatory.server.websocket import Connection

REMEMBERED = 1000  # closed connections


@attrs.define
class Roster:
    """wall_ms: the time now. head: the log's."""

    wall_ms: Callable[[], int]
    head: Callable[[], int]
    _closed: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED))

    def left(self, connection: Connection, code: int) -> None:
        """A connection is gone."""
        self._closed.append({
            "id": connection.client_id,
            "address": connection.address,
            "code": code,
            "reason": connection.close_reason,
            "connected_at": rfc3339(connection.since_ms),
            "closed_at": rfc3339(self.wall_ms()),
            "sent": connection.sender.frames_sent,
            "lag_events": self._lag(connection),
        })  # fmt: skip

    def told(self, connections: Iterable[Connection]) -> dict[str, Any]:
        """As the API's /clients."""
        return {"clients": [self._client(one) for one in connections], "closed": list(reversed(self._closed))}

    def slowest(self, connections: Iterable[Connection], most: int) -> list[dict[str, Any]]:
        """Those furthest behind, and then those that were sent most."""
        chosen = nlargest(most, connections, key=lambda one: (self._lag(one), one.sender.frames_sent))
        return [self._client(one) for one in chosen]

    def _client(self, connection: Connection) -> dict[str, Any]:
        queued = connection.sender.statistics()
        return {
            "id": connection.client_id,
            "address": connection.address,
            "protocol": None if connection.legacy else PROTOCOL,
            "state": connection.mode,
            "topics": sorted(connection.session.topics),
            "filtered": connection.session.where is not None,
            "connected_at": rfc3339(connection.since_ms),
            "sent": connection.sender.frames_sent,
            "lag_events": self._lag(connection),
            "outbox_frames": queued.queued_frames,
            "outbox_bytes": queued.queued_bytes,
        }

    def _lag(self, connection: Connection) -> int:
        at = connection.sender.statistics().behind_at
        return 0 if at is None else max(0, self.head() - at)
