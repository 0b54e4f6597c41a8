"""What a client must do (protocol.md §14): each rule, and the tests that prove it. The last test keeps the table true.

| rule | proven by |
|---|---|
| 1 subprotocol, no credentials in the URL | test_a_server_that_does_not_speak_the_protocol_is_refused, test_the_token_and_headers_travel_in_the_handshake, test_credentials_in_a_url_are_refused_and_not_repeated |
| 2 `last` from events and agreed pings | test_it_resumes_after_a_cut_from_the_last_event, test_a_ping_is_answered_and_moves_the_position_past_events_that_did_not_match, test_an_agreed_position_is_saved_although_no_event_had_it |
| 3 resume, else snapshot first | test_before_the_first_event_it_resumes_from_the_confirmed_head, test_it_can_begin_with_a_snapshot, test_a_program_goes_on_where_it_was_whatever_since_says |
| 4 silence before the server's first frame | test_nothing_is_sent_before_the_servers_first_frame |
| 5 drop what was seen | test_events_that_were_seen_are_dropped, test_an_old_seq_of_another_epoch_is_no_repetition |
| 6 shallow updates by id | test_updates_are_merged_by_id_and_null_clears, test_an_update_of_something_unknown_is_its_beginning_and_other_events_change_nothing |
| 7 snapshot after recovered false and resync | test_what_cannot_be_resumed_is_replaced_by_a_snapshot, test_a_resync_is_replaced_by_a_snapshot_on_the_same_connection |
| 8 pong, and 4000 on a wrong count | test_a_wrong_count_closes_with_4000_is_told_and_repeats_nothing_but_what_was_missing, test_a_count_that_stays_wrong_is_an_error |
| 9 silence of 1.5 intervals | test_a_silent_server_is_left_after_one_and_a_half_ping_intervals, test_pings_are_signs_of_life |
| 10 jittered, doubling delays | test_every_delay_is_drawn_from_zero_on_the_first_one_too, test_a_patient_follower_waits_for_its_server_with_growing_delays |
| 11 waits that the server asks for | test_after_a_shutdown_it_comes_back_when_told_to, test_refusals_that_pass_are_waited_out_at_least_as_long_as_told |
| 12 final codes | test_final_close_codes_end_it_with_the_reason |
| 13 read all the time | test_a_busy_user_loses_nothing_and_does_not_look_dead |
| 14 ignore the unknown, and the order of keys | test_other_frames_are_ignored_and_an_emergency_status_is_not, test_unknown_keys_and_any_order_of_keys_are_taken, test_the_order_of_keys_means_nothing |
| 15 texts are untrusted | test_final_close_codes_end_it_with_the_reason, test_no_text_of_an_event_reaches_the_terminal_as_a_command, test_json_prints_each_envelope_as_one_safe_line |
"""  # noqa: E501 - a table

import re
from pathlib import Path

import trio
from trio.testing import MockClock

from observatory.client.follow import follow
from observatory.core.client_items import Connected, Disconnected, Event
from observatory.core.events import Position
from tests.client.following import TOPICS, following, seqs, take
from tests.playing import URL, Peer, playing, stay

RULES = 15
TESTS = Path(__file__).resolve().parents[1]


async def test_nothing_is_sent_before_the_servers_first_frame(autojump_clock: MockClock) -> None:
    early: list[str | bytes] = []

    async def script(peer: Peer) -> None:
        with trio.move_on_after(5):
            early.append(await peer.ws.get_message())
        await stay(peer)

    async with following(script) as items:
        assert isinstance(await items.receive(), Connected)
    assert early == []


async def test_an_old_seq_of_another_epoch_is_no_repetition(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.events(5, 5, epoch="e2")
        await peer.closed_by_client()

    async with following(script) as items:
        _, *events = await take(items, 3)
    assert [event.position for event in events if isinstance(event, Event)] == [Position("e1", 101), Position("e2", 5)]


async def test_every_delay_is_drawn_from_zero_on_the_first_one_too(autojump_clock: MockClock) -> None:
    drawn: list[tuple[float, float]] = []

    def third(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 3

    async with (
        playing(None, None, None, stay) as open_stream,
        follow(URL, TOPICS, patient=True, uniform=third, open_stream=open_stream) as items,
    ):
        *waits, _ = await take(items, 4)
    assert drawn == [(0.0, 0.25), (0.0, 0.5), (0.0, 1.0)]
    assert [item.delay for item in waits if isinstance(item, Disconnected)] == [0.25 / 3, 0.5 / 3, 1.0 / 3]


async def test_unknown_keys_and_any_order_of_keys_are_taken(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100, invented_later={"x": 1})
        await peer.ws.send_message('{"epoch":"e1","seq":101,"later":null,"data":{"n":1},"timestamp":1,"type":"a_type"}')
        await peer.ws.send_message('{"data":{"sent":1,"pos":150,"later":0,"epoch":"e1"},"timestamp":1,"type":"ping"}')
        assert (await peer.expect("pong"))["data"] == {"received": 1}
        await peer.closed_by_client()

    async with following(script) as items:
        found = await take(items, 2)
        await trio.testing.wait_all_tasks_blocked()
    assert seqs(found) == [101]


def test_every_rule_has_tests_and_they_exist() -> None:
    rows = re.findall(r"^\| (\d+) .*\| (test_.*) \|$", __doc__ or "", re.MULTILINE)
    assert [int(number) for number, _ in rows] == [*range(1, RULES + 1)]
    written = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    for _, names in rows:
        assert set(names.split(", ")) <= written, set(names.split(", ")) - written
