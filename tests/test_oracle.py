"""The oracle is tested itself: it must catch every way in which a delivery can be wrong, and only those."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.batch import Batch
from observatory.core.client_items import Connected, Event, Gap, Snapshot
from observatory.core.events import Draft, Position
from observatory.storage.log import EventLog
from tests.oracle import Change, Hole, Published, Received, Verdict, Witness, check, judge, read_log
from tests.storage.test_log import NOW

TOPICS = frozenset({"a", "b"})
LOG = tuple(Published(seq, frozenset({"abc"[seq % 3]}), b'{"n":%d}' % seq) for seq in range(1, 31))
DUE = [Received(event.seq, event.payload) for event in LOG if event.seq > 3 and event.topics <= TOPICS]


def witness(frames: list[Received], *holes: Hole) -> Witness:
    return Witness([Change(3, TOPICS)], frames, list(holes))


def test_a_right_delivery_passes() -> None:
    check(LOG, witness(list(DUE)))
    assert str(judge(LOG, witness(list(DUE)))) == "each once, in order, unaltered"


def test_nothing_is_due_before_a_position() -> None:
    assert judge(LOG, Witness())
    assert judge(LOG, Witness(frames=[DUE[0]])) == Verdict(unexpected=(DUE[0].seq,))


@pytest.mark.parametrize("at", [0, 7, len(DUE) - 1])
def test_a_dropped_event_is_missing(at: int) -> None:
    assert judge(LOG, witness(DUE[:at] + DUE[at + 1 :])) == Verdict(missing=(DUE[at].seq,))


def test_a_doubled_event_is_caught_near_and_far() -> None:
    assert judge(LOG, witness([*DUE[:5], DUE[4], *DUE[5:]])) == Verdict(doubled=(DUE[4].seq,))
    assert judge(LOG, witness([*DUE, DUE[2]])) == Verdict(doubled=(DUE[2].seq,))


def test_a_swap_is_out_of_order() -> None:
    swapped = [*DUE[:4], DUE[5], DUE[4], *DUE[6:]]
    assert judge(LOG, witness(swapped)) == Verdict(out_of_order=(DUE[4].seq,))


def test_a_changed_byte_is_caught() -> None:
    changed = [Received(DUE[0].seq, DUE[0].payload + b" "), *DUE[1:]]
    assert judge(LOG, witness(changed)) == Verdict(altered=(DUE[0].seq,))


@pytest.mark.parametrize(
    "stray",
    [Received(5, LOG[4].payload), Received(3, LOG[2].payload), Received(31, b"{}")],
    ids=["foreign topic", "before the position", "never published"],
)
def test_what_was_not_due_is_unexpected(stray: Received) -> None:
    verdict = judge(LOG, witness(sorted([*DUE, stray], key=lambda frame: frame.seq)))
    assert verdict == Verdict(unexpected=(stray.seq,))


def test_what_everybody_gets_is_due_to_any_topics() -> None:
    to_all = (*LOG, Published(31, frozenset({"*"}), b"{}"))
    assert judge(to_all, witness(list(DUE))) == Verdict(missing=(31,))


def test_a_change_of_topics_counts_from_its_position() -> None:
    changed = Witness([Change(3, TOPICS), Change(20, frozenset({"c"}))])
    kept = [Received(e.seq, e.payload) for e in LOG if e.seq > 3 and ("c" in e.topics) == (e.seq > 20)]
    changed.frames += kept
    assert judge(LOG, changed)
    early = Witness([Change(3, TOPICS), Change(17, frozenset({"c"}))], kept)
    assert judge(LOG, early) == Verdict(missing=(20,), unexpected=(18, 19))


def test_a_hole_is_allowed_only_where_it_was_declared() -> None:
    kept = [frame for frame in DUE if not 10 < frame.seq <= 20]
    assert judge(LOG, witness(kept, Hole(10, 20)))
    assert judge(LOG, witness(kept, Hole(10, 18))) == Verdict(missing=(19,))
    assert judge(LOG, witness(list(DUE), Hole(10, 20))).unexpected == (12, 13, 15, 16, 18, 19)


def test_up_to_a_position_the_rest_is_not_due_yet() -> None:
    assert judge(LOG, witness(DUE[:-3]), upto=DUE[-4].seq)
    assert judge(LOG, witness(list(DUE)), upto=10)


def test_the_failure_tells_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match=r"delivery is wrong: 2 missing: 4, 6; 1 doubled: 30"):
        check(LOG, witness([*DUE[2:], DUE[-1]]))


def test_a_follower_is_a_witness() -> None:
    seen = Witness()
    for item in (
        Connected("c1", Position("e", 3), None),
        Event("x", {}, 4, "e", 0, '{"n":4}'),
        Event("system_status", {}, None, None, 0, "{}"),
        Connected("c2", Position("e", 4), True),
        Gap("too_old", Position("e", 4), Position("e", 9)),
        Snapshot((), (), False, Position("e", 12)),
    ):
        seen.take(item, TOPICS)
    assert seen == Witness([Change(3, TOPICS)], [Received(4, b'{"n":4}')], [Hole(4, 12)])


Fault = Callable[[list[Received], int], list[Received]]
FAULTS: dict[str, Fault] = {
    "drop": lambda frames, at: frames[:at] + frames[at + 1 :],
    "double": lambda frames, at: [*frames[: at + 1], *frames[at:]],
    "swap": lambda frames, at: [*frames[:at], *reversed(frames[at : at + 2]), *frames[at + 2 :]],
    "alter": lambda frames, at: [*frames[:at], Received(frames[at].seq, b"{}"), *frames[at + 1 :]],
    "replay a page": lambda frames, at: frames + frames[at:],
    "stop early": lambda frames, at: frames[:at],
}


@given(st.sampled_from(sorted(FAULTS)), st.integers(0, len(DUE) - 2))
def test_no_fault_passes_wherever_it_strikes(name: str, at: int) -> None:
    assert not judge(LOG, witness(FAULTS[name](list(DUE), at)))


def test_the_log_is_read_as_it_was_committed(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "boot-1")
    events = log.append(Batch(drafts=[Draft("x", {"n": n}, ("a", f"t:{n}")) for n in range(3)]), NOW)
    assert read_log(log.path) == tuple(Published(e.seq, frozenset(e.topics), e.payload) for e in events)
    log._db.execute("DELETE FROM events WHERE seq = 2")
    with pytest.raises(AssertionError, match="not dense"):
        read_log(log.path)
    log.close()
