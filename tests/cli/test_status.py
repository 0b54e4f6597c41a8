"""`observatory status`: a server's answer in a few lines."""

import attrs
import pytest
from trio.testing import MockClock

from observatory.cli.status import ask, lines
from observatory.core.client_items import Refused
from observatory.core.progress import Progress
from tests.playing import URL, Peer, playing

STATUS = {
    "version": "1", "uptime_seconds": 61.4, "position": {"epoch": "e1", "head": 9, "oldest": 2}, "roots": ["/r"],
    "clients": {"live": 1, "behind": 2, "idle": 3}, "gauges": {"sources": 4, "history_waiting": 5}, "data_dir": "/d",
    "watcher": {"backend": "poll", "directories": 6},
    "components": [{"component_name": "store", "status": "ok", "details": None},
                   {"component_name": "watcher", "status": "degraded", "details": "polling"}],
}  # fmt: skip


def test_the_lines_tell_what_matters_and_what_is_sick() -> None:
    assert lines("ws://h/ws", STATUS) == [
        "observatory 1 at ws://h/ws, up 61 s",
        "log      epoch e1, head 9, oldest 2",
        "clients  1 live, 2 behind, 3 idle",
        "files    4 known, 5 of the history still to read",
        "watcher  poll, 6 directories",
        "data     /d",
        "root     /r",
        "degraded watcher: polling",
    ]


def test_the_lag_of_clients_that_are_behind_is_told() -> None:
    gauges = STATUS["gauges"] | {"client_lag_events": 12345}  # type: ignore[operator]
    assert "clients  1 live, 2 behind (by up to 12,345 events), 3 idle" in lines(
        "ws://h/ws", STATUS | {"gauges": gauges}
    )


def test_an_import_is_told_while_it_runs() -> None:
    progress = Progress(running=True, files_done=1, files_total=2, bytes_done=1_000_000, bytes_total=3_000_000)
    told = lines("ws://h/ws", STATUS | {"import": attrs.asdict(progress)})
    assert told[4] == "import   1 of 2 files, 1.0 of 3.0 MB, 0.0 MB/s, –:–– left"
    over = attrs.evolve(progress, running=False)
    assert lines("ws://h/ws", STATUS | {"import": attrs.asdict(over)}) == lines("ws://h/ws", STATUS)


async def test_an_error_reply_is_one_line_and_no_status(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("get_status")
        await peer.send("error", {"code": "INTERNAL", "message": "out of order"}, re=request["id"])
        await peer.closed_by_client()

    async with playing(script) as open_stream:
        with pytest.raises(Refused, match="out of order"):
            await ask(URL, open_stream)
