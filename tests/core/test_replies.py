"""Control messages, byte for byte."""

import orjson
import pytest

from observatory.core import replies
from observatory.core.errors import RequestError
from observatory.core.events import LogPosition
from observatory.core.replies import Standing, Timing, WireLimits

NOW = 1_795_381_200_000
LOG = LogPosition("k3x9q2", 120_345, 54_810)


def test_the_first_frame_is_the_one_of_the_protocol() -> None:
    assert replies.connection_established("c7", False, [], LOG, WireLimits(), Timing(), NOW).decode() == (
        '{"type":"connection_established","data":{"client_id":"c7","server_time":"2026-11-22T21:00:00.000Z",'
        '"subscriptions":[],"protocol":"observatory.v1",'
        '"position":{"epoch":"k3x9q2","head":120345,"oldest":54810},'
        '"ping":{"interval_ms":25000,"timeout_ms":10000},"retry":{"min_ms":250,"max_ms":30000},'
        '"limits":{"outbox_frames":1024,"outbox_bytes":1048576,"topics":128,"requests_per_s":20,'
        '"message_bytes":65536}},"timestamp":1795381200000}'
    )


def test_a_legacy_client_is_told_no_protocol_and_its_topics() -> None:
    hello = orjson.loads(replies.connection_established("c7", True, {"b", "a"}, LOG, WireLimits(), Timing(), NOW))
    assert (hello["data"]["protocol"], hello["data"]["subscriptions"]) == (None, ["a", "b"])


def test_a_confirmation_is_the_one_of_the_protocol() -> None:
    standing = Standing({"all_conversations"}, "behind", 120_300)
    payload = replies.standing("subscription_confirmed", 1, standing, LOG, NOW, recovered=True)
    assert orjson.loads(payload) == {
        "re": 1,
        "type": "subscription_confirmed",
        "data": {
            "topics": ["all_conversations"], "where": None, "state": "behind", "epoch": "k3x9q2", "pos": 120_300,
            "head": 120_345, "oldest": 54_810, "recovered": True,
        },
        "timestamp": NOW,
    }  # fmt: skip


def test_an_error_tells_when_to_try_again_only_where_waiting_helps() -> None:
    refused = orjson.loads(replies.error(RequestError("INVALID_TOPIC", "no"), NOW, 2))
    assert refused == {"re": 2, "type": "error", "timestamp": NOW,
                       "data": {"code": "INVALID_TOPIC", "message": "no", "retryable": False}}  # fmt: skip
    limited = orjson.loads(replies.error(RequestError("RATE_LIMIT_EXCEEDED", "no", True, 50, re="a"), NOW))
    assert (limited["re"], limited["data"]["retry_after_ms"], limited["data"]["retryable"]) == ("a", 50, True)


@pytest.mark.parametrize("timestamp", [None, 5, "x", [1]])
def test_a_pong_echoes_what_came(timestamp: object) -> None:
    data = orjson.loads(replies.pong(None, timestamp, True, NOW))["data"]
    assert data == {"timestamp": timestamp, "server_time": "2026-11-22T21:00:00.000Z"}


def test_a_pong_echoes_nothing_if_nothing_came() -> None:
    assert orjson.loads(replies.pong(3, None, False, NOW)) == {
        "re": 3, "type": "pong", "data": {"server_time": "2026-11-22T21:00:00.000Z"}, "timestamp": NOW,
    }  # fmt: skip


def test_a_ping_tells_position_and_count() -> None:
    message = orjson.loads(replies.ping("k3x9q2", None, 4, NOW))
    assert message["data"] == {"timestamp": NOW, "epoch": "k3x9q2", "pos": None, "sent": 4}
    assert "re" not in message


def test_the_shutdown_tells_when_to_come_back() -> None:
    data = orjson.loads(replies.server_shutdown("restart", 2713, NOW))["data"]
    assert data == {"reason": "restart", "reconnect_after_ms": 2713}


def test_a_resync_tells_where_the_log_is_now() -> None:
    data = orjson.loads(replies.resync("gap", LogPosition("m8t1aa", 12, 3), NOW))["data"]
    assert data == {"reason": "gap", "epoch": "m8t1aa", "head": 12, "oldest": 3}


def test_times_have_milliseconds_and_a_z() -> None:
    assert replies.rfc3339(NOW + 7) == "2026-11-22T21:00:00.007Z"
