import pytest

from observatory.core.closing import CloseCode
from tests.bench.frames import CLOSES, CODES, REPLIES, judge, measure
from tests.bench.frames_made import CLOSERS, KINDS, Inbound, Maker, head, xored


def test_the_same_seed_gives_the_same_messages_and_another_seed_others() -> None:
    first, again, other = (Maker(seed) for seed in (1, 1, 2))
    messages = [first.message() for _ in range(300)]
    assert messages == [again.message() for _ in range(300)]
    assert messages != [other.message() for _ in range(300)]


def test_all_kinds_come() -> None:
    maker = Maker(3)
    assert len({maker.message().kind for _ in range(2000)}) >= len(set(KINDS))
    assert len({maker.closer().kind for _ in range(2000)}) == len(set(CLOSERS))


def test_what_a_message_may_bring_is_documented() -> None:
    maker = Maker(4)
    answers = {answer for _ in range(2000) for answer in maker.message().answers} - {"*", ""}
    assert {answer.removeprefix("error:") for answer in answers} <= CODES | REPLIES
    closes = {code for _ in range(2000) for code in maker.closer().closes if 1 <= code < 3000}
    assert closes <= CLOSES == {code.value for code in CloseCode}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_head_tells_the_size(size: int) -> None:
    data = head(0x81, size)
    short = data[1] & 127
    assert data[1] & 128
    assert (short if short < 126 else int.from_bytes(data[2:], "big")) == size


def test_a_mask_is_taken_off_by_itself() -> None:
    assert xored(xored(b"hello", b"abcd"), b"abcd") == b"hello" != xored(b"hello", b"abcd")
    assert xored(b"", b"abcd") == b""


ASKED = [
    Inbound("ping", b"", frozenset({"pong"}), re=1),
    Inbound("none", b""),
    Inbound("bad", b"", frozenset({"error:INVALID_TOPIC"}), re=2),
]


def test_the_right_replies_are_no_fault() -> None:
    assert list(judge(ASKED, [("pong", 1), ("error:INVALID_TOPIC", 2)], True)) == []
    assert list(judge(ASKED, [("pong", 1)], False)) == []


@pytest.mark.parametrize(
    ("replies", "fault"),
    [
        ([("pong", 1)], "1 replies to 3 messages"),
        ([("pong", 1), ("error:INVALID_TOPIC", 2), ("pong", None)], "3 replies to 3 messages"),
        ([("error:INVALID_TOPIC", 2), ("pong", 1)], "the reply to 1 is out of order"),
        ([("pong", 1), ("pong", 2)], "bad: pong for"),
        ([("pong", 1), ("error:NO_SUCH_CODE", 2)], "error:NO_SUCH_CODE is not documented"),
        ([("surprise", 1), ("error:INVALID_TOPIC", 2)], "surprise is not documented"),
    ],
)
def test_a_wrong_reply_is_a_fault(replies: list[tuple[str, object]], fault: str) -> None:
    assert next(judge(ASKED, replies, True)).startswith(fault)


@pytest.mark.parametrize(("count", "lifted"), [(3000, True), (500, False)])
def test_a_few_thousand_leave_a_server_up_and_answering(count: int, lifted: bool) -> None:
    tally = measure(count, 7, lifted)
    assert tally.faults == []
    assert tally.messages >= count
    assert sum(tally.replies.values()) > 50
