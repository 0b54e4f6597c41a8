from pathlib import Path
from typing import Any

import orjson
import pytest

from observatory.storage.log import EventLog
from observatory.storage.reader import LogReader
from tests.bench import replay, slow, storm
from tests.bench.catching_up import fill


async def test_a_log_is_filled_with_events_of_one_size(tmp_path: Path) -> None:
    epoch = fill(tmp_path, 1200, 512)
    log = EventLog(tmp_path, None)
    reader = LogReader(log)
    rows = await reader.read(1190, 1200)
    assert (log.position.epoch, log.position.head, len(rows)) == (epoch, 1200, 10)
    assert {len(row.payload) for row in rows} == {512}
    assert orjson.loads(rows[0].payload)["data"]["stamp"] == 1
    reader.close()
    log.close()


def laps(rate: float, without: float, with_: float) -> list[dict[str, Any]]:
    return [{"with": {"rates": [rate], "p99_ms": with_}, "without": {"rates": [], "p99_ms": without}}]


@pytest.mark.parametrize(
    ("rounds", "problems"), [(laps(30_000, 2, 2.6), 0), (laps(29_999, 2, 2.6), 1), (laps(1, 2, 2.7), 2)]
)
def test_a_replay_that_is_slow_or_disturbs_is_told(rounds: list[dict[str, Any]], problems: int) -> None:
    assert len(replay.failures(rounds)) == problems


def pair(p99: float = 10, kb: float = 50, behind: int = 5) -> dict[str, Any]:
    return {"with": {"p99_ms": p99, "behind": behind, "slow_open": 5}, "without": {"p99_ms": 10}, "kb": kb}


def test_slow_clients_that_disturb_or_cost_too_much_or_are_not_slow_are_told() -> None:
    assert slow.failures([pair()], {"kb": 192}, 5) == []
    assert len(slow.failures([pair(p99=13.1)], {"kb": 100}, 5)) == 1
    assert len(slow.failures([pair(kb=193)], {"kb": 100}, 5)) == 1
    assert len(slow.failures([pair()], {"kb": 193}, 5)) == 1
    assert slow.failures([pair(behind=4)], {"kb": 1}, 5) == ["of 5 slow clients 4 were behind and 5 stayed connected"]


def test_a_late_live_event_is_told() -> None:
    assert storm.failures([{"latest_ms": 250}, {"latest_ms": 90}, {"latest_ms": 900}]) == []
    assert len(storm.failures([{"latest_ms": 251}])) == 1
