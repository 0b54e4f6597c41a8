import random

import pytest

from tests.bench.arrivals import Arrivals, delay, mark
from tests.bench.files import failures, hellos
from tests.bench.files_writer import Template, order, template
from tests.bench.transcript import Conversation


def frame(file: int, number: int, stamp: float, kind: str = "message_added") -> bytes:
    return f'{{"type":"{kind}","data":{{"content":"{mark(file, number, round(stamp * 1e9))} words"}}}}'.encode()


def taken(*lines: tuple[int, int]) -> Arrivals:
    arrivals = Arrivals()
    for file, number in lines:
        assert arrivals.take(frame(file, number, 1.0), 1.5)
    return arrivals


def faults(arrivals: Arrivals, **written: int) -> tuple[int, int, int]:
    counts = {int(name[1:]): count for name, count in written.items()}
    return arrivals.missing(counts), arrivals.doubled, arrivals.out_of_order


def test_lines_of_several_files_that_come_once_and_in_order_are_right() -> None:
    arrivals = taken((0, 0), (1, 0), (1, 1), (0, 1), (0, 2))
    assert arrivals.total == 5
    assert faults(arrivals, f0=3, f1=2) == (0, 0, 0)


def test_a_line_that_did_not_come_is_missing() -> None:
    assert faults(taken((0, 0)), f0=2, f1=3) == (4, 0, 0)


def test_a_line_left_out_in_the_middle_is_missing_and_what_came_before_it_was_out_of_order() -> None:
    assert faults(taken((0, 0), (0, 2), (0, 3)), f0=4) == (1, 0, 2)


def test_lines_that_change_places_are_out_of_order_but_not_missing() -> None:
    assert faults(taken((0, 1), (0, 0), (0, 2)), f0=3) == (0, 0, 1)


def test_a_line_that_comes_twice_is_doubled_also_when_it_came_early() -> None:
    assert faults(taken((0, 0), (0, 0), (0, 2), (0, 2), (0, 1)), f0=3) == (0, 2, 1)


def test_other_frames_are_not_counted() -> None:
    arrivals = Arrivals()
    assert not arrivals.take(frame(0, 0, 1.0, "conversation_update"), 1.5)
    assert not arrivals.take(b'{"type":"message_added","data":{}}', 1.5)
    assert arrivals.total == 0


def test_delays_are_told_over_all_lines_and_for_the_file_that_waits_longest() -> None:
    arrivals = Arrivals()
    for number in range(99):
        arrivals.take(frame(0, number, 1.0), 1.25)
    arrivals.take(frame(1, 0, 1.0), 3.0)
    found = delay(arrivals)
    assert (found.p50, found.p99, found.worst_p99, found.longest) == (0.25, 0.25, 2.0, 2.0)


def test_no_arrivals_have_no_delay() -> None:
    with pytest.raises(ValueError, match="no values"):
        delay(Arrivals())


def test_a_template_makes_lines_like_the_answer_it_was_cut_from() -> None:
    made = template(Conversation(3)).line("the-uuid", "the-id", "the-stamp", "the-mark")
    whole = Conversation(3).answer("MARK")
    assert len(made) - sum(map(len, ("the-uuid", "the-id", "the-stamp", "the-mark"))) > len(whole) // 2
    assert made.endswith(b"\n")
    for piece in (b'"uuid":"the-uuid"', b'"id":"the-id"', b'"timestamp":"the-stamp"', b'"text":"the-mark '):
        assert piece in made


def test_a_per_cent_sign_in_a_template_stays_one() -> None:
    assert Template(b"100%% %(mark)b").line("", "", "", "x") == b"100% x"


def test_each_file_has_one_turn_in_a_round() -> None:
    assert sorted(order(50, random.Random(1))) == list(range(50))


def test_the_first_client_wants_everything_and_each_other_one_conversation() -> None:
    everything, *others = hellos(2)
    assert b"all_conversations" in everything
    assert [
        f"conversation:{Conversation(n, cwd=f'/home/dev/project0{n}').session_id}".encode() in o
        for n, o in enumerate(others)
    ] == [True, True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"missing": 2}, ["2 lines missing"]),
        ({"out_of_order": 1, "doubled": 3}, ["3 lines doubled", "1 lines out of order"]),
        ({"worst_p99_ms": 50.1}, ["the worst file's p99 is 50.1 ms, more than 50"]),
    ],
)
def test_what_breaks_the_floor_is_told(change: dict[str, float], told: list[str]) -> None:
    good = {"missing": 0, "doubled": 0, "out_of_order": 0, "worst_p99_ms": 50.0}
    assert failures(good | change) == told
