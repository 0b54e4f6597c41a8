"""A client that is behind: fed page by page within its bounds, until it is at the head."""

from collections.abc import Callable

import trio
from trio.testing import wait_all_tasks_blocked

from actors.sender import COPY_BYTES, OutboxLimits, Page
from tests.actors.fakes import ListBacklog, make_sender

NO_MATCH = frozenset({"other"})
MATCH = frozenset({"t"})


async def test_a_client_behind_is_fed_page_by_page_and_asks_to_be_live_at_the_head(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(MATCH, b"%d" % n) for n in range(1, 9)], topics=MATCH, page=3)
    sender, transport, _ = make_sender(backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(2)
    await wait_all_tasks_blocked()
    assert transport.taken == b"345678"
    assert sender.frames_sent == 6
    assert sender.cursor is None
    assert log.rejoins == 1


async def test_pages_without_a_match_move_the_cursor_without_writing(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(NO_MATCH, b"x")] * 7 + [(MATCH, b"!")], topics=MATCH, page=2)
    sender, transport, _ = make_sender(backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert transport.taken == b"!"
    assert sender.statistics().behind_at is None


async def test_a_client_behind_is_fed_when_its_outbox_is_half_empty_and_never_beyond_its_bound(
    nursery: trio.Nursery,
) -> None:
    log = ListBacklog(entries=[(MATCH, b"x" * 10)] * 100, topics=MATCH, page=3)
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(behind_bytes=60), backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert (sender.statistics().queued_bytes, log.reads) == (60, 2)
    transport.make_room(29)
    await wait_all_tasks_blocked()
    assert (sender.statistics().queued_bytes, log.reads) == (60, 2)
    transport.make_room(31)
    await wait_all_tasks_blocked()
    assert sender.statistics().queued_bytes <= 60
    transport.make_room()
    await wait_all_tasks_blocked()
    assert len(transport.taken) == 1000
    assert sender.cursor is None


async def test_a_page_that_does_not_fit_waits_until_the_outbox_is_empty(nursery: trio.Nursery) -> None:
    sizes = (10, 100, 10)
    log = ListBacklog(entries=[(MATCH, b"x" * size) for size in sizes], topics=MATCH, page=1)
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(behind_bytes=60), backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert (sender.statistics().queued_bytes, sender.cursor) == (10, 1)
    transport.make_room(10)
    await wait_all_tasks_blocked()
    assert (sender.statistics().queued_bytes, sender.cursor) == (100, 2)
    transport.make_room()
    await wait_all_tasks_blocked()
    assert len(transport.taken) == 120


async def test_pages_of_many_small_frames_keep_to_the_bound_of_frames(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(MATCH, b"x")] * 40, topics=MATCH, page=4)
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(frames=10), backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert sender.statistics().queued_frames == 8
    transport.make_room()
    await wait_all_tasks_blocked()
    assert len(transport.taken) == 40


async def test_a_client_at_the_head_is_live_only_when_its_outbox_is_empty(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(MATCH, b"abc")], topics=MATCH)
    sender, transport, _ = make_sender(room=2, backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert (sender.cursor, log.rejoins) == (1, 0)
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"abc"
    assert (sender.cursor, log.rejoins) == (None, 1)


async def test_large_bytes_are_written_without_a_copy(nursery: trio.Nursery) -> None:
    sender, transport, _ = make_sender(room=0)
    nursery.start_soon(sender.run)
    large = b"L" * COPY_BYTES
    for data in (b"a", b"b", large, b"c", large, large):
        assert sender.offer_nowait(data)
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"ab" + large + b"c" + large + large
    assert [len(write) for write in transport.written] == [2, COPY_BYTES, 1, COPY_BYTES, COPY_BYTES]
    assert sender.statistics().queued_bytes == 0


async def test_replies_of_a_client_behind_come_between_pages(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(MATCH, b"a"), (MATCH, b"b"), (MATCH, b"c")], topics=MATCH, page=2)
    sender, transport, _ = make_sender(room=0, limits=OutboxLimits(behind_bytes=3), backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    sender.reply_nowait(b"<r>")
    transport.make_room()
    await wait_all_tasks_blocked()
    assert transport.taken == b"ab<r>c"


async def test_a_client_whose_backlog_is_gone_gets_nothing_more(nursery: trio.Nursery) -> None:
    log = ListBacklog(entries=[(MATCH, b"a")], topics=MATCH, gone=True)
    sender, transport, _ = make_sender(backlog=log)
    nursery.start_soon(sender.run)
    sender.fall_behind(0)
    await wait_all_tasks_blocked()
    assert transport.taken == b""
    assert sender.cursor is None


class ClosesWhileReading(ListBacklog):
    """The client leaves while its page is being read."""

    async def read(self, after: int) -> Callable[[], Page] | None:
        select = await super().read(after)
        assert self.sender is not None
        self.sender.close()
        return select


async def test_a_sender_closed_during_a_page_read_ends() -> None:
    log = ClosesWhileReading(entries=[(MATCH, b"a")], topics=MATCH)
    sender, transport, _ = make_sender(backlog=log)
    sender.fall_behind(0)
    await sender.run()
    assert log.reads == 1
    assert transport.taken == b""
