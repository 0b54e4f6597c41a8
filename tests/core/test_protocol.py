"""The conversation with one client (protocol.md §7, §15), by its state and nothing else."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.closing import CloseCode
from observatory.core.errors import RequestError
from observatory.core.events import LogPosition, Position
from observatory.core.protocol import At, Close, Effect, Fetch, Reply, Session, Settle, Settled
from observatory.core.requests import GetSubscriptions, Resume, ResumeRequest, Subscribe, Unsubscribe
from observatory.core.where import Where, parse_where

LOG = LogPosition("k3x9q2", head=100, oldest=51)
HERE = Position("k3x9q2", 90)
PING = '{"type":"ping","id":1}'


def text(kind: str, data: Any = None) -> str:
    return orjson.dumps({"type": kind, "id": 1, "data": {} if data is None else data}).decode()


def at(pos: int | None = None, sent: int = 0) -> At:
    return At(pos, LOG, sent, 5)


def told(settled: Settled) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(settled.payload)
    assert message["re"] == 1
    data: dict[str, Any] = message["data"]
    return data


def code_of(effect: Effect) -> str:
    assert isinstance(effect, Reply)
    code: str = orjson.loads(effect.payload)["data"]["code"]
    return code


# -- one message -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "effect"),
    [
        (text("subscribe", {"topics": ["system"]}), Settle(Subscribe(1, ("system",)))),
        (text("unsubscribe"), Settle(Unsubscribe(1, None))),
        (text("resume", {"epoch": "k3x9q2", "seq": 90}), Settle(ResumeRequest(1, Resume(HERE)))),
        (text("get_subscriptions"), Settle(GetSubscriptions(1))),
        (text("get_snapshot", {"limit": 3}), Fetch(1, "snapshot", 3)),
        (text("get_status"), Fetch(1, "status")),
        (PING, Reply(b'{"re":1,"type":"pong","data":{"server_time":"1970-01-01T00:00:00.005Z"},"timestamp":5}')),
    ],
)
def test_each_request_has_its_effect(message: str, effect: Effect) -> None:
    session = Session()
    assert session.receive(message, 0.0, 5) == (effect,)
    assert session.requested


def test_a_pong_is_not_answered() -> None:
    assert Session().receive(text("pong"), 0.0, 5) == ()


def test_an_invalid_request_is_answered_by_an_error_and_is_no_sign_of_a_client() -> None:
    session = Session()
    (effect,) = session.receive('{"type":"subscribe","id":"a","data":{"topics":["x"]}}', 0.0, 5)
    assert isinstance(effect, Reply)
    message = orjson.loads(effect.payload)
    assert (message["re"], message["data"]["code"]) == ("a", "INVALID_TOPIC")
    assert not session.requested


# -- rates -------------------------------------------------------------------------------------------------------------


def test_the_tenth_error_within_60_s_is_followed_by_4509() -> None:
    session = Session()
    for second in range(9):
        assert len(session.receive("?", float(second), 5)) == 1
    error, close = session.receive("?", 59.9, 5)
    assert code_of(error) == "INVALID_MESSAGE"
    assert close == Close(CloseCode.TOO_MANY_ERRORS, "too many bad requests")


def test_nine_errors_a_minute_are_borne_for_ever() -> None:
    session = Session()
    assert all(len(session.receive("?", 60 / 9 * n, 5)) == 1 for n in range(100))


def test_the_excess_is_discarded_and_told_once_a_second() -> None:
    session = Session()
    effects = [session.receive(PING, 0.0, 5) for _ in range(42)]
    assert [len(some) for some in effects[39:]] == [1, 1, 0]
    assert code_of(effects[40][0]) == "RATE_LIMIT_EXCEEDED"
    assert "pong" in str(session.receive(PING, 0.5, 5))
    effects = [session.receive(PING, 1.0, 5) for _ in range(21)]
    assert [code_of(e) for some in effects[19:] for e in some] == ["RATE_LIMIT_EXCEEDED"]


def test_rate_errors_do_not_count_as_errors() -> None:
    session = Session()
    closes = []
    for second in range(30):
        for _ in range(21 if second else 41):
            closes += [e for e in session.receive(PING, float(second), 5) if isinstance(e, Close)]
    assert closes == []
    failure = RequestError("RATE_LIMIT_EXCEEDED", "one at a time")
    assert all(len(session.refuse(failure, None, 0.0, 5)) == 1 for _ in range(20))


def test_the_hundredth_discard_within_10_s_closes_with_4013() -> None:
    session = Session()
    effects = [effect for _ in range(140) for effect in session.receive(PING, 0.0, 5)]
    assert effects[-1] == Close(CloseCode.FLOODING, "too many requests")
    assert sum(isinstance(effect, Close) for effect in effects) == 1


# -- at the Router's turn (rows 9 to 13) -------------------------------------------------------------------------------


def test_a_first_subscribe_starts_at_the_head() -> None:
    session = Session()
    settled = session.settle(Subscribe(1, ("system",)), at())
    assert settled.topics == {"system"}
    assert settled.start == 100
    assert told(settled) == {
        "topics": ["system"], "where": None, "state": "live", "epoch": "k3x9q2", "pos": 100, "head": 100, "oldest": 51,
    }  # fmt: skip


@pytest.mark.parametrize(("pos", "state"), [(100, "live"), (60, "behind")])
def test_a_later_subscribe_keeps_the_position_and_adds(pos: int, state: str) -> None:
    session = Session(frozenset({"system"}))
    settled = session.settle(Subscribe(1, ("project:p",)), at(pos))
    assert settled.start is None
    assert settled.topics == session.topics == {"system", "project:p"}
    assert (told(settled)["pos"], told(settled)["state"]) == (pos, state)


def test_replace_replaces() -> None:
    session = Session(frozenset({"system"}))
    assert session.settle(Subscribe(1, ("project:p",), replace=True), at(100)).topics == {"project:p"}


@pytest.mark.parametrize("gone", [("system", "file_events"), None])
def test_unsubscribe_gives_back_what_is_held_and_leaves_the_position(gone: tuple[str, ...] | None) -> None:
    session = Session(frozenset({"system"}))
    settled = session.settle(Unsubscribe(1, gone), at(100))
    assert (settled.topics, settled.start, session.topics) == (frozenset(), None, frozenset())
    assert told(settled)["pos"] == 100


def test_the_status_of_subscriptions_changes_nothing_and_counts() -> None:
    session = Session(frozenset({"system"}))
    settled = session.settle(GetSubscriptions(1), at(sent=7))
    assert settled.topics == {"system"}
    assert settled.start is None
    assert (told(settled)["sent"], told(settled)["pos"], told(settled)["state"]) == (7, None, "idle")


@pytest.mark.parametrize(("seq", "state"), [(100, "live"), (90, "behind"), (50, "behind")])
def test_a_recoverable_resume_starts_where_the_client_was(seq: int, state: str) -> None:
    session = Session()
    settled = session.settle(Subscribe(1, ("system",), resume=Resume(Position("k3x9q2", seq))), at())
    assert settled.topics == {"system"}
    assert settled.start == seq
    data = told(settled)
    assert (data["recovered"], data["pos"], data["state"]) == (True, seq, state)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Resume(Position("m8t1aa", 90)), "epoch_changed"),
        (Resume(Position("k3x9q2", 101)), "ahead"),
        (Resume(Position("k3x9q2", 49)), "too_old"),
        (Resume(HERE, 9), "too_many"),
    ],
)
def test_a_refused_resume_keeps_topics_and_gives_no_position_so_that_another_may_follow(
    wish: Resume, reason: str
) -> None:
    session = Session()
    settled = session.settle(Subscribe(1, ("system",), resume=wish), at())
    assert settled.topics == {"system"}
    assert settled.start is None
    data = told(settled)
    assert (data["recovered"], data["reason"], data["pos"], data["state"]) == (False, reason, None, "idle")
    again = session.settle(ResumeRequest(1, Resume(HERE)), at())
    assert again.topics == {"system"}
    assert again.start == 90


@pytest.mark.parametrize("request_", [ResumeRequest(1, Resume(HERE)), Subscribe(1, ("x",), resume=Resume(HERE))])
def test_a_resume_with_a_position_is_refused_and_changes_nothing(request_: Subscribe | ResumeRequest) -> None:
    session = Session(frozenset({"system"}))
    with pytest.raises(RequestError) as caught:
        session.settle(request_, at(100))
    assert (caught.value.code, caught.value.re) == ("POSITION_SET", 1)
    assert session.topics == {"system"}


def test_more_than_128_topics_are_refused_and_change_nothing() -> None:
    held = frozenset(f"project:{n}" for n in range(127))
    session = Session(held)
    with pytest.raises(RequestError) as caught:
        session.settle(Subscribe(1, ("system", "file_events")), at(100))
    assert (caught.value.code, session.topics) == ("TOO_MANY_SUBSCRIPTIONS", held)
    assert len(session.settle(Subscribe(1, ("system",)), at(100)).topics) == 128


# -- filters -----------------------------------------------------------------------------------------------------------

ROLE = {"val": "user", "key": "role", "cmp": "eq"}
KIND = {"key": "kind", "cmp": "exists"}


def filtering(where: dict[str, Any] | None, **options: Any) -> Subscribe:
    parsed = None if where is None else parse_where(where)
    return Subscribe(1, ("system",), where=parsed, gives_where=True, **options)


def test_a_filter_given_is_set_null_removes_it_and_absent_leaves_it() -> None:
    session = Session()
    steps: list[tuple[Subscribe | Unsubscribe | GetSubscriptions, dict[str, Any] | None]] = [
        (filtering(ROLE), ROLE), (Subscribe(1, ("file_events",)), ROLE), (Subscribe(1, (), replace=True), ROLE),
        (filtering(KIND), KIND), (Unsubscribe(1, None), KIND), (GetSubscriptions(1), KIND),
        (filtering(None), None), (GetSubscriptions(1), None),
    ]  # fmt: skip
    for request, expected in steps:
        settled = session.settle(request, at(100))
        assert told(settled)["where"] == expected
        assert settled.where is session.where
        assert (settled.where is None) == (expected is None)


def test_the_filter_is_told_letter_for_letter() -> None:
    settled = Session().settle(filtering(ROLE), at())
    assert b'"where":{"val":"user","key":"role","cmp":"eq"},' in settled.payload


def test_a_refused_resume_keeps_the_filter() -> None:
    session = Session()
    session.settle(filtering(ROLE, resume=Resume(Position("m8t1aa", 90))), at())
    settled = session.settle(ResumeRequest(1, Resume(HERE)), at())
    assert told(settled)["where"] == ROLE


def test_a_refused_request_leaves_the_filter_as_it_was() -> None:
    session = Session(frozenset(f"project:{n}" for n in range(128)), parse_where(KIND))
    before = session.where
    for request in (filtering(ROLE, resume=Resume(HERE)), filtering(ROLE)):
        with pytest.raises(RequestError):
            session.settle(request, at(100))
        assert isinstance(session.where, Where)
        assert session.where is before


def test_a_bad_filter_is_answered_before_anything_changes() -> None:
    session = Session()
    (effect,) = session.receive(text("subscribe", {"topics": ["system"], "where": {"op": "nor"}}), 0.0, 5)
    assert code_of(effect) == "INVALID_FILTERS"


TOPICS = st.lists(st.sampled_from(["system", "file_events", "project:p", "conversation:c"]), max_size=4).map(tuple)
STEPS = st.lists(
    st.builds(Subscribe, st.just(1), TOPICS, st.booleans())
    | st.builds(Unsubscribe, st.just(1), TOPICS | st.none())
    | st.just(GetSubscriptions(1))
)


@given(STEPS)
def test_topics_held_are_those_of_a_naive_set(steps: list[Subscribe | Unsubscribe | GetSubscriptions]) -> None:
    session, naive, pos = Session(), set[str](), None
    for step in steps:
        settled = session.settle(step, at(pos))
        if isinstance(step, Subscribe):
            naive = set(step.topics) | (set() if step.replace else naive)
            assert settled.start == (100 if pos is None else None)
            pos = 100
        elif isinstance(step, Unsubscribe):
            naive -= naive if step.topics is None else set(step.topics)
        assert settled.topics == session.topics == naive
        assert told(settled)["topics"] == sorted(naive)
