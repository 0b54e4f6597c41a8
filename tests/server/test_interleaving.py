"""Subscribe, resume, publish, change of topics, page boundary and disconnect, interleaved; see interleaving.py."""

from collections.abc import Callable
from typing import Any

import pytest

from actors.commands import Publish, Routed
from actors.router import Router
from actors.sender import Sender
from observatory.core.ports import Stored
from observatory.core.protocol import At, Session, Settled
from observatory.core.requests import Unsubscribe
from tests.server.interleaving import Judge, Wrong, caught, run
from tests.server.pretended import PAGE, MemoryLog

SEEDS = 150
BUG_SEEDS = 1000  # within which the oracle must find a planted bug


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_every_matching_event_comes_once_and_in_order_whatever_happens_between_two_steps(start: int) -> None:
    for seed in range(start, start + 50):
        run(seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_event_at_any_single_step_is_neither_lost_nor_doubled(seed: int) -> None:
    step = last = 1
    while step <= last:
        last = max(last, min(run(seed, frozenset({step, step + 1, step + 7}), 1, 5).steps, 300))
        step += 1
    assert last > 50


def test_the_same_seed_is_the_same_run() -> None:
    first, again, other = run(7), run(7), run(8)
    assert (first.steps, first.log.rows) == (again.steps, again.log.rows)
    assert (first.steps, first.log.rows) != (other.steps, other.log.rows)


# -- the oracle itself -------------------------------------------------------------------------------------------------


def advance_past_what_did_not_fit(patch: pytest.MonkeyPatch) -> None:
    """pos advanced past an event that did not fit."""

    def conclude(self: Router[str], command: Publish[str], refused: list[Sender], reached: bool) -> None:
        honest(self, command, [], reached)
        for client in refused:
            self._leave(client)
            client.fall_behind(self._head)

    honest: Callable[..., None] = Router._conclude
    patch.setattr(Router, "_conclude", conclude)


def live_without_the_tail(patch: pytest.MonkeyPatch) -> None:
    """live resumed without reading the tail."""
    patch.setattr(Router, "_since", lambda self, position: list[Routed[str]]())


def page_boundary_twice(patch: pytest.MonkeyPatch) -> None:
    """a page boundary replayed twice."""

    async def read(self: MemoryLog, after: int, upto: int) -> list[Stored]:
        boundary = after % PAGE == 0 and after > PAGE
        return await honest(self, after - 1 if boundary else after, upto)

    honest = MemoryLog.read
    patch.setattr(MemoryLog, "read", read)


def unsubscribe_at_the_head(patch: pytest.MonkeyPatch) -> None:
    """an unsubscribe applied at head instead of pos: until then the old topics are read from the log."""

    def settle(self: Session, request: Any, at: At) -> Settled:
        before = self.topics
        settled = honest(self, request, at)
        if isinstance(request, Unsubscribe) and at.pos is not None and at.pos < at.log.head:
            self.topics = before
        return settled

    honest = Session.settle
    patch.setattr(Session, "settle", settle)


def rejoined_without_the_filter(patch: pytest.MonkeyPatch) -> None:
    """who rejoins gets the tail unfiltered."""

    def matching(self: Router[str], client: Sender, missed: list[Routed[str]]) -> list[bytes]:
        held = {*self._topics[client], "*"}
        return [message.data for message in missed if self._meet(held, message.topics)]

    patch.setattr(Router, "_matching", matching)


BUGS = [
    rejoined_without_the_filter,
    advance_past_what_did_not_fit,
    live_without_the_tail,
    page_boundary_twice,
    unsubscribe_at_the_head,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_oracle_catches_a_planted_bug(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    assert any(caught(seed) for seed in range(BUG_SEEDS))


def judged(log: MemoryLog, stream: list[dict[str, Any]]) -> Judge:
    judge = Judge(log)
    for message in stream:
        judge.take(message)
    return judge


def confirmed(pos: int, *topics: str) -> dict[str, Any]:
    return {"type": "subscription_confirmed", "data": {"pos": pos, "topics": topics, "where": None}}


def event(seq: int) -> dict[str, Any]:
    return {"type": "message_added", "data": {}, "seq": seq}


def ping(pos: int, sent: int) -> dict[str, Any]:
    return {"type": "ping", "data": {"pos": pos, "sent": sent}}


@pytest.mark.parametrize(
    "stream",
    [
        [confirmed(0, "system"), event(3)],  # 1 is missing
        [confirmed(0, "system"), event(1), event(1)],
        [confirmed(0, "system"), event(1), event(2)],  # of another topic
        [confirmed(1, "system"), event(1)],
        [event(1), confirmed(0, "system")],
        [confirmed(0, "system"), event(1), ping(3, 1)],
        [confirmed(0, "system"), event(1), ping(2, 2)],
        [confirmed(0, "system"), event(1), ping(2, 1), ping(1, 1)],
        [confirmed(0, "system"), event(1), confirmed(0, "system", "file_events")],
        [confirmed(0, "system"), confirmed(1), ping(3, 0)],
    ],
)
def test_a_wrong_stream_is_found(stream: list[dict[str, Any]]) -> None:
    log = MemoryLog()
    for topic in ("system", "file_events", "system"):
        log.append((topic,))
    with pytest.raises(Wrong):
        judged(log, stream)


def test_a_right_stream_is_not() -> None:
    log = MemoryLog()
    for topic in ("system", "file_events", "system"):
        log.append((topic,))
    stream = [confirmed(0, "system"), event(1), confirmed(1, "file_events"), event(2), ping(3, 2)]
    assert judged(log, stream).last == 3
