"""One client's outbox: direct writes, joined writes, bounds, catch-up, stall and failure."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.sender import JOIN_BYTES, OutboxLimits, Sender, Stalled
from tests.actors.fakes import FakeTransport, ListBacklog, make_sender

NO_MATCH = frozenset({"other"})
MATCH = frozenset({"t"})


async def test_an_idle_client_is_written_to_at_once_without_its_task() -> None:
    sender, transport, _ = make_sender()
    assert sender.offer_nowait(b"hello")
    assert transport.taken == b"hello"
    assert sender.frames_sent == 1


async def test_what_the_kernel_does_not_take_is_written_by_the_task(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=2)
    nursery.start_soon(sender.run)
    assert sender.offer_nowait(b"hello")
    assert transport.taken == b"he"
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"hello"
    assert sender.statistics().queued_frames == 0
    assert sender.statistics().queued_bytes == 0


async def test_a_burst_is_joined_into_few_writes_in_order(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0)
    nursery.start_soon(sender.run)
    frames = [b"%04d" % n for n in range(500)]
    for frame in frames:
        assert sender.offer_nowait(frame)
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"".join(frames)
    assert transport.writes <= 3


async def test_one_write_is_bounded(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(bytes=16 * JOIN_BYTES))
    nursery.start_soon(sender.run)
    for _ in range(8):
        assert sender.offer_nowait(b"x" * JOIN_BYTES)
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.writes == 8


async def test_a_full_outbox_refuses_and_queues_nothing(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(frames=2))
    nursery.start_soon(sender.run)
    assert sender.offer_nowait(b"a")
    assert sender.offer_nowait(b"b")
    assert not sender.offer_nowait(b"c")
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"ab"
    assert sender.frames_sent == 2


async def test_a_full_outbox_by_bytes_refuses() -> None:
    sender, _, _ = make_sender(room=0, limits=OutboxLimits(bytes=10))
    assert sender.offer_nowait(b"12345678")
    assert not sender.offer_nowait(b"123")
    assert sender.offer_nowait(b"12")


async def test_an_empty_outbox_admits_one_chunk_of_any_size(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(frames=2, bytes=10))
    nursery.start_soon(sender.run)
    assert sender.offer_nowait(b"x" * 1000, 50)
    assert not sender.offer_nowait(b"y")
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"x" * 1000


async def test_replies_are_exempt_from_the_bounds_and_keep_their_place(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(frames=1))
    nursery.start_soon(sender.run)
    assert sender.offer_nowait(b"event")
    sender.reply_nowait(b"<reply>")
    assert not sender.offer_nowait(b"event2")
    assert sender.statistics().queued_replies == 1
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"event<reply>"
    assert sender.statistics().queued_replies == 0


async def test_replies_to_an_idle_client_are_written_at_once() -> None:
    sender, transport, _ = make_sender()
    sender.reply_nowait(b"pong")
    assert transport.taken == b"pong"


async def test_send_waits_until_its_bytes_are_written(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=3)
    nursery.start_soon(sender.run)
    written = trio.Event()

    async def control() -> None:
        await sender.send(b"close")
        written.set()

    nursery.start_soon(control)
    await wait_all_tasks_blocked()
    assert not written.is_set()
    transport.make_room()
    await written.wait()
    assert transport.taken == b"close"


async def test_a_cancelled_send_is_still_written_whole(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=2)
    nursery.start_soon(sender.run)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sender.send(b"close")
    assert scope.cancelled_caught
    sender.reply_nowait(b"|next")
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"close|next"


async def test_the_reader_waits_while_replies_pile_up(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0)
    nursery.start_soon(sender.run)
    for _ in range(3):
        sender.reply_nowait(b"r")
    passed = trio.Event()

    async def reader() -> None:
        await sender.wait_replies_below(2)
        passed.set()

    nursery.start_soon(reader)
    await wait_all_tasks_blocked()
    assert not passed.is_set()
    transport.make_room()
    await passed.wait()


async def test_control_frames_without_end_break_the_connection_instead_of_the_memory() -> None:
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(frames=1))
    for _ in range(1000):
        sender.reply_nowait(b"pong")
    assert sender.broken
    assert transport.aborted
    with pytest.raises(trio.BrokenResourceError):
        await sender.send(b"x")


async def test_a_client_that_takes_nothing_is_reset_after_the_stall_time(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(stall_seconds=30))
    sender.offer_nowait(b"event")
    start = trio.current_time()
    with pytest.raises(Stalled):
        await sender.run()
    assert trio.current_time() - start == pytest.approx(30)
    assert transport.aborted
    assert sender.offer_nowait(b"more")  # going away: the frames are of no use to anyone
    assert transport.after_abort == 0


async def test_a_trickle_of_bytes_is_no_stall(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(stall_seconds=30))
    nursery.start_soon(sender.run)
    sender.offer_nowait(b"12345")
    for _ in range(5):
        await trio.sleep(29)
        transport.make_room(1)
    await wait_all_tasks_blocked()
    assert transport.taken == b"12345"
    assert not transport.aborted


async def test_bytes_that_a_kernel_would_take_without_saying_so_are_no_stall(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """Linux calls a socket writable only when a third of its buffer is free: for a slow reader that takes minutes."""
    mock_clock.autojump_threshold = 0
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(stall_seconds=30))
    ended, start = trio.Event(), trio.current_time()

    async def run() -> None:
        with pytest.raises(Stalled):
            await sender.run()
        ended.set()

    nursery.start_soon(run)
    sender.offer_nowait(b"12345")
    for taken in range(1, 4):
        await trio.sleep(29)
        transport.room = 1  # and nobody is woken
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        assert transport.taken == b"12345"[:taken]
    await ended.wait()
    assert transport.aborted
    assert trio.current_time() == pytest.approx(start + 120)


async def test_a_broken_connection_ends_the_task_and_no_byte_follows() -> None:
    sender, transport, _ = make_sender()
    transport.error = ConnectionResetError()
    assert sender.offer_nowait(b"event")
    assert sender.broken
    assert transport.aborted
    with pytest.raises(trio.BrokenResourceError):
        await sender.run()
    sender.reply_nowait(b"x")
    sender.fall_behind(3)
    assert transport.after_abort == 0


async def test_a_connection_that_breaks_while_busy_wakes_those_who_wait(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0)
    caught: list[type[Exception]] = []

    async def run() -> None:
        try:
            await sender.run()
        except trio.BrokenResourceError as error:
            caught.append(type(error))

    async def control() -> None:
        try:
            await sender.send(b"close")
        except trio.BrokenResourceError as error:
            caught.append(type(error))

    nursery.start_soon(run)
    nursery.start_soon(control)
    await wait_all_tasks_blocked()
    transport.error = BrokenPipeError()
    transport.make_room()
    await wait_all_tasks_blocked()
    assert caught == [trio.BrokenResourceError] * 2


async def test_a_broken_connection_met_by_a_reply_is_noticed() -> None:
    sender, transport, _ = make_sender()
    transport.error = ConnectionResetError()
    sender.reply_nowait(b"x")
    assert sender.broken


async def test_close_lets_what_is_queued_be_written(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0)
    sender.offer_nowait(b"last words")
    sender.close()
    assert sender.offer_nowait(b"too late")
    transport.make_room()
    await sender.run()
    assert transport.taken == b"last words"


async def test_abort_resets_at_once() -> None:
    sender, transport, _ = make_sender(room=0)
    sender.offer_nowait(b"x")
    sender.abort()
    assert transport.aborted
    with pytest.raises(trio.BrokenResourceError):
        await sender.run()


async def test_whoever_queued_events_is_told_when_they_are_written(nursery: trio.Nursery) -> None:
    written: list[object] = []
    transport = FakeTransport(room=1)
    sender = Sender(transport, OutboxLimits(), ListBacklog(), written.append)
    nursery.start_soon(sender.run)
    sender.offer_nowait(b"one", 1, "stamp 1")
    sender.offer_nowait(b"two", 1, "stamp 2")
    assert written == []
    transport.make_room()
    await wait_all_tasks_blocked()
    assert written == ["stamp 1", "stamp 2"]


async def test_a_client_that_went_away_takes_no_more_while_the_last_bytes_wait() -> None:
    sender, transport, _ = make_sender(room=1)
    sender.offer_nowait(b"last words")
    sender.close()
    assert sender.offer_nowait(b"too late")
    assert transport.taken == b"l"


@given(
    chunks=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    rooms=st.lists(st.integers(1, 60), min_size=1, max_size=40),
)
async def test_any_pattern_of_partial_writes_keeps_the_stream_whole(chunks: list[int], rooms: list[int]) -> None:
    frames = [bytes([65 + n % 26]) * size for n, size in enumerate(chunks)]
    sender, transport, _ = make_sender(room=rooms[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        for frame in frames:
            assert sender.offer_nowait(frame)
            await trio.lowlevel.checkpoint()
        for room in rooms[1:]:
            transport.make_room(room)
            await wait_all_tasks_blocked()
        transport.make_room()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert transport.taken == b"".join(frames)


async def test_a_reply_tells_when_it_is_written_or_never_will_be(autojump_clock: MockClock) -> None:
    sender, transport, _ = make_sender(room=2)
    at_once, later, never = trio.Event(), trio.Event(), trio.Event()
    sender.reply_nowait(b"ab", at_once)
    assert at_once.is_set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        sender.reply_nowait(b"cd", later)
        await wait_all_tasks_blocked()
        assert not later.is_set()
        transport.make_room(2)
        await later.wait()
        sender.reply_nowait(b"ef", never)
        sender.close()
        nursery.cancel_scope.cancel()
    await never.wait()
    after = trio.Event()
    sender.reply_nowait(b"gh", after)
    assert after.is_set()
    assert bytes(transport.taken) == b"abcd"


class Defective(FakeTransport):
    """Raises what no transport should."""

    def try_send(self, data: bytes | memoryview) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize("give", [lambda sender: sender.offer_nowait(b"x"), lambda sender: sender.reply_nowait(b"x")])
async def test_a_defect_met_in_the_task_of_another_is_raised_in_its_own(give: Callable[[Sender], object]) -> None:
    transport = Defective()
    sender = Sender(transport, OutboxLimits(), ListBacklog())
    give(sender)
    assert sender.broken
    with pytest.raises(ZeroDivisionError):
        await sender.run()
