"""Decisions of the client, frame by frame. The whole conversations are in tests/test_client_follow.py."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.client_effects import Deliver, Effect, Fail, GiveUp, Leave, Retry, Send
from observatory.core.client_items import Agreed, Closed, Connected, Event, Gap, Miscounted, Refused, parse_frame
from observatory.core.client_progress import Progress
from observatory.core.client_state import ClientState, Phase
from observatory.core.errors import Unreachable
from observatory.core.events import Position
from observatory.core.reconnect import Backoff

HELLO = {"client_id": "c7", "ping": {"interval_ms": 20_000}, "retry": {"min_ms": 1000, "max_ms": 8000}}
SUBSCRIBE = Send("subscribe", {"topics": ["t"], "where": None}, 1)


def longest(_low: float, high: float) -> float:
    return high


def state_at(last: Position | None = None, **options: Any) -> ClientState:
    state = ClientState(("t",), None, Progress(last), Backoff(longest), **options)
    state.connect()
    return state


def give(state: ClientState, kind: str, data: Any = None, **envelope: Any) -> tuple[Effect, ...]:
    frame = parse_frame(orjson.dumps({"type": kind, "data": data, **envelope}).decode())
    assert frame is not None
    return state.receive(frame)


def live_at(seq: int) -> ClientState:
    state = state_at()
    give(state, "connection_established", HELLO)
    give(state, "subscription_confirmed", {"epoch": "e1", "pos": seq}, re=1)
    assert state.phase is Phase.LIVE
    return state


def test_the_hello_tells_patience_and_is_answered_by_a_subscription() -> None:
    state = state_at()
    assert give(state, "connection_established", HELLO) == (SUBSCRIBE,)
    assert state.silence_seconds == 30.0


@pytest.mark.parametrize(
    "hello", [None, {}, {"ping": {}, "retry": {}}, {"ping": 1, "retry": 1}, {"retry": {"min_ms": 1}}]
)
def test_a_poor_hello_leaves_the_defaults(hello: Any) -> None:
    state = state_at()
    assert give(state, "connection_established", hello) == (SUBSCRIBE,)
    assert state.silence_seconds == 37.5
    assert state.backoff.draw() == 0.25


def test_a_second_hello_means_nothing() -> None:
    state = live_at(100)
    assert give(state, "connection_established", HELLO) == ()


@pytest.mark.parametrize("reply_to", [None, 2, "1"])
def test_only_the_reply_to_our_request_confirms(reply_to: Any) -> None:
    state = state_at()
    give(state, "connection_established", HELLO)
    assert give(state, "subscription_confirmed", {"epoch": "e1", "pos": 1}, re=reply_to) == ()
    assert state.phase is Phase.CONFIRMATION


def test_a_confirmation_without_position_still_connects() -> None:
    state = state_at()
    give(state, "connection_established", HELLO)
    assert give(state, "subscription_confirmed", {}, re=1) == (Deliver(Connected("c7", None, None)),)


def test_an_event_without_epoch_is_handed_over_uncounted() -> None:
    state = live_at(100)
    [effect] = give(state, "x", {}, seq=1)
    assert isinstance(effect, Deliver)
    assert isinstance(effect.item, Event)
    assert state.progress.received == 0


def test_a_ping_without_count_or_time_is_answered_and_proves_nothing() -> None:
    state = live_at(100)
    assert give(state, "ping", {"epoch": "e1", "pos": 200}) == (Send("pong", {"received": 0}),)
    assert state.progress.last == Position("e1", 100)


def test_a_ping_without_position_is_checked_and_answered() -> None:
    state = live_at(100)
    assert give(state, "ping", {"sent": 0, "pos": None}) == (Send("pong", {"received": 0}),)
    assert isinstance(give(state, "ping", {"sent": 1, "pos": None})[-1], Leave)


def test_snapshots_that_never_suffice_end_at_the_head_with_a_gap() -> None:
    state = state_at(Position("e1", 5))
    give(state, "connection_established", HELLO)
    number = 1
    for _ in range(3):
        effects = give(state, "subscription_confirmed", {"recovered": False, "reason": "too_old"}, re=number)
        assert effects == (Send("get_snapshot", {}, number + 1),)
        give(
            state,
            "snapshot",
            {"position": {"epoch": "e1", "seq": 9}, "projects": 1, "conversations": [1]},
            re=number + 1,
        )
        number += 2
    effects = give(state, "subscription_confirmed", {"recovered": False, "reason": "too_old"}, re=number)
    assert effects == (Send("subscribe", {"topics": ["t"], "where": None}, number + 1),)
    effects = give(state, "subscription_confirmed", {}, re=number + 1)
    assert effects == (Deliver(Gap("too_old", Position("e1", 9), None)), Deliver(Connected("c7", None, False)))


def test_a_snapshot_without_position_is_none() -> None:
    state = state_at(snapshot_first=True)
    assert give(state, "connection_established", HELLO) == (Send("get_snapshot", {}, 1),)
    assert give(state, "snapshot", {}, re=1) == (Send("subscribe", {"topics": ["t"], "where": None}, 2),)


def test_a_resync_while_a_snapshot_is_awaited_asks_for_no_second_one() -> None:
    state = live_at(100)
    assert give(state, "resync", {"reason": "gap"}) == (Send("get_snapshot", {}, 2),)
    assert give(state, "resync", {"reason": "gap"}) == ()


@pytest.mark.parametrize("code", ["POSITION_SET", "RATE_LIMIT_EXCEEDED"])
def test_errors_that_a_new_connection_cures_make_it_leave(code: str) -> None:
    state = state_at()
    give(state, "connection_established", HELLO)
    [effect] = give(state, "error", {"code": code, "message": "m", "retry_after_ms": 1500}, re=1)
    assert effect == Leave(1000, "The server refused: m", 1.5)


def test_other_errors_are_for_the_user() -> None:
    state = state_at()
    give(state, "connection_established", HELLO)
    [effect] = give(state, "error", {"code": "INVALID_FILTERS", "message": "depth"}, re=1)
    assert isinstance(effect, Fail)
    assert isinstance(effect.error, Refused)
    assert effect.error.code == "INVALID_FILTERS"


def test_the_end_of_a_connection_is_retry_or_the_end() -> None:
    state = live_at(100)
    assert isinstance(state.closed(4503, "", 1.0), GiveUp)
    verdict = state.closed(1006, "", 0.1, not_before=9.0)
    assert isinstance(verdict, Retry)
    assert verdict.delay == 9.0


def test_a_close_before_the_hello_is_judged_by_its_code() -> None:
    assert isinstance(state_at().unreachable(Closed("x", code=4500)), GiveUp)
    assert isinstance(state_at().unreachable(Closed("x", code=1011)), Retry)


@pytest.mark.parametrize(("status", "again"), [(503, True), (429, True), (502, True), (401, False), (None, False)])
def test_refusals_are_judged_by_their_status(status: int | None, again: bool) -> None:
    verdict = state_at().unreachable(Refused("no", status=status, retry_after=2.0))
    assert isinstance(verdict, Retry) is again


def test_a_missing_server_is_waited_for_if_met_before_or_told_to() -> None:
    nobody = Unreachable("nobody")
    assert isinstance(state_at().unreachable(nobody), GiveUp)
    assert isinstance(state_at(patient=True).unreachable(nobody), Retry)
    assert isinstance(live_at(1).unreachable(nobody), Retry)


TYPES = [
    "connection_established",
    "subscription_confirmed",
    "snapshot",
    "ping",
    "error",
    "resync",
    "server_shutdown",
    "x",
]
values = st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from(["e1", "e2"])
KEYS = ["epoch", "pos", "sent", "seq", "recovered", "position", "ping", "retry", "code", "reconnect_after_ms"]
frames = st.tuples(
    st.sampled_from(TYPES),
    values | st.dictionaries(st.sampled_from(KEYS), values),
    st.dictionaries(st.sampled_from(["re", "seq", "epoch"]), values),
)


@given(st.lists(frames, max_size=20))
def test_no_order_of_frames_breaks_it_or_repeats_an_event(script: list[tuple[str, Any, dict[str, Any]]]) -> None:
    state = state_at()
    for kind, data, envelope in script:
        before = state.progress.last
        for effect in give(state, kind, data, **envelope):
            if isinstance(effect, Deliver) and isinstance(effect.item, Event) and effect.item.position is not None:
                position = effect.item.position
                assert before is None or before.epoch != position.epoch or before.seq < position.seq


def test_an_agreement_is_told_only_to_those_who_ask() -> None:
    ping = {"epoch": "e1", "pos": 105, "sent": 0}
    assert [type(effect) for effect in give(live_at(100), "ping", ping)] == [Send]
    asking = live_at(100)
    asking.tells_agreed = True
    told, _ = give(asking, "ping", ping)
    assert told == Deliver(Agreed(Position("e1", 105)))


def test_miscounting_three_times_without_an_agreement_between_is_the_end() -> None:
    state = live_at(100)
    wrong, right = {"epoch": "e1", "pos": 105, "sent": 9}, {"epoch": "e1", "pos": 105, "sent": 0}
    for ping, ends in ((wrong, Leave), (wrong, Leave), (right, Send), (wrong, Leave), (wrong, Leave), (wrong, Fail)):
        *_, effect = give(state, "ping", ping)
        assert isinstance(effect, ends)
    assert isinstance(effect, Fail)
    assert effect.code == 4000
    assert isinstance(effect.error, Miscounted)
