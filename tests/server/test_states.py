"""Every row of the table of states, on real connections: brought into the state, given the input, watched on the wire.

The cases are made from the table: a row's effects say what has to come, its close which code, its next state what the
connection is to be found in afterwards. A row without a scene fails.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from observatory.core.states import OPEN, TABLE, Effect, Input, Row, State, step
from tests.server.serving import code_of
from tests.server.state_inputs import APPLY
from tests.server.state_scenes import ASKED, TOKEN, TOPIC, Message, Stage, staged

# Effects that another row's case proves: the timers by 25 and 6, what the outbox does by 19 and 20.
SHOWN_ELSEWHERE = {Effect.TIME_REQUEST, Effect.TIME_AUTH, Effect.READ_PAGE, Effect.SWITCH, Effect.REFUSE, Effect.QUEUE,
                   Effect.PASS_OVER, Effect.RESET, Effect.HOLD, Effect.AT_HEAD, Effect.AT_SEQ, Effect.ECHO}  # fmt: skip
TOLD: dict[Effect, str] = {
    Effect.HELLO: "connection_established",
    Effect.DISCARD: "RATE_LIMIT_EXCEEDED",
    Effect.ERROR: "INVALID_MESSAGE",
    Effect.POSITION_SET: "POSITION_SET",
    Effect.CONFIRM: "subscription_confirmed",
    Effect.REPLY: "snapshot",
    Effect.PING: "ping",
    Effect.CONTROL_PING: "control ping",
    Effect.UNAUTHORIZED: "UNAUTHORIZED",
    Effect.RESYNC: "resync",
    Effect.SHUTDOWN: "server_shutdown",
}
Case = tuple[Row, State, Input, bool]


def cases() -> Iterator[Case]:
    """Every row in each of its states with each of its inputs. GO has a test of its own: nothing is connected there."""
    for row in TABLE:
        for state in row.states:
            for input_ in row.inputs:
                legacy = bool(row.legacy) or input_ is Input.UPGRADE_LEGACY
                impossible = legacy and state is State.ID  # never without a position
                meant = step(state, input_, legacy) is row  # and not one above it
                if state is not State.GO and meant and not impossible:
                    yield row, state, input_, legacy


def name_of(case: Case) -> str:
    row, state, input_, legacy = case
    return f"{row.number}-{state.name}-{input_.name}{'-legacy' if legacy else ''}"


@pytest.fixture
def clock() -> MockClock:
    return MockClock(rate=1.0)


@pytest.mark.parametrize("case", list(cases()), ids=name_of)
async def test_the_connection_does_what_the_row_says(case: Case, clock: MockClock, tmp_path: Path) -> None:
    row, state, input_, legacy = case
    async with staged(tmp_path, clock, state, input_, legacy) as stage:
        await APPLY[input_](stage)
        standing = await standing_in(stage, state, row)
        check_status(row, stage)
        check_told(row, stage)
        check_events(row, stage, state)
        check_standing(row, stage, standing)
        check_end(row, stage, input_)


async def standing_in(stage: Stage, state: State, row: Row) -> Message:
    """Watch until the next state shows: the answer to a probe in an open one, a close frame, or the end."""
    following = row.after(state)
    if following in OPEN:
        return await stage.probe()
    if following is State.UA:  # it is let in still
        await stage.ask("auth", token=TOKEN)
        while not stage.told or stage.told[-1]["type"] != "connection_established":
            await stage.take()
        stage.told.pop()
        return {}
    if state is not State.CL and following is State.CL:
        if state is State.BH and row.number != 18:  # which it finds out when it reads on
            await stage.until_closing()
        await stage.until_closed()
    elif following is State.CL:  # still: it takes nothing but the answer to its close frame
        await stage.raw.send(b"\x03\xeb", 8)
        await stage.until_gone()
        assert stage.ended == "end"
    else:
        await stage.until_gone()
    return {}


def check_status(row: Row, stage: Stage) -> None:
    """The HTTP answer."""
    if Effect.SWITCH in row.effects:
        assert stage.status == 101
    if Effect.REFUSE in row.effects:
        assert stage.status == 404


def check_told(row: Row, stage: Stage) -> None:
    """The control messages are those of the effects, in their order, and no other."""
    told = [code_of(message) if message["type"] == "error" else message["type"] for message in stage.told]
    if row.number in (26, 27, 28) and stage.status:  # in the handshake: with or without the first frame
        told = [kind for kind in told if kind != "connection_established"]
    if row.number == 7:  # told at most once a second; also before the one that is too many
        assert set(told) == {"RATE_LIMIT_EXCEEDED"}
        return
    if row.number in (23, 24):  # the ping before is no part of it
        assert set(told) <= {"ping", "status"}
        return
    if State.BH in (row.next, *row.states) and row.number in (10, 19):  # caught up meanwhile: row 20
        told = told[:-1] if told[-1:] == ["ping"] else told
    assert told[stage.spent :] == [TOLD[effect] for effect in row.effects if effect not in SHOWN_ELSEWHERE]


def check_events(row: Row, stage: Stage, state: State) -> None:
    """Events come to the live, once and in order; a client that is behind has them from the log, without a gap."""
    started = stage.started if state is not State.BH else 3
    assert stage.events == list(range(stage.events[0], stage.events[-1] + 1)) if stage.events else True
    if Effect.QUEUE in row.effects:
        assert stage.events == [started + 1]
    if Effect.PASS_OVER in row.effects or state in (State.UA, State.ID, State.CL):
        assert stage.events == [] or row.number == 10
    if row.number in (19, 20):
        assert stage.events[-1] == stage.head


def check_standing(row: Row, stage: Stage, standing: Message) -> None:
    """What the probe says: the state, the position, the topics."""
    if not standing or row.number == 19:  # its end is row 20
        return
    confirmed = stage.told[0]["data"] if Effect.AT_SEQ in row.effects else standing
    expected = {row.next} if row.next is not None else set(row.states)
    assert State(confirmed["state"]) in expected
    if Effect.AT_HEAD in row.effects or Effect.PASS_OVER in row.effects:
        assert standing["pos"] == stage.head
    if row.effects[:1] == (Effect.HOLD,) and Effect.CONFIRM in row.effects:
        asked = stage.told[0]["data"]["topics"]
        assert standing["topics"] == asked
        assert stage.told[0]["re"] == ASKED
        assert {TOPIC, "system"} & set(asked)
    if Effect.AT_SEQ in row.effects:
        assert stage.told[0]["data"]["recovered"] is True
        assert stage.told[0]["data"]["pos"] == (stage.head if row.next is State.LV else stage.head - 2)
    if row.number == 11:
        assert (standing["pos"], stage.told[0]["data"]["recovered"]) == (None, False)


def check_end(row: Row, stage: Stage, input_: Input) -> None:
    """The close code, how the socket ended, and what the server still counts."""
    if row.close is not None:
        assert stage.closed == row.close
    if Effect.ECHO in row.effects:
        assert stage.closed == 4000
    if row.next is State.GO:
        reset = Effect.RESET in row.effects
        assert stage.ended == ("ours" if input_ is Input.LOST else "reset" if reset else "end")
        statistics = stage.running.router.statistics()
        assert (statistics.live, statistics.behind, statistics.idle, statistics.topics_held) == (0, 0, 0, 0)


async def test_gone_ignores_everything(clock: MockClock, tmp_path: Path) -> None:
    async with staged(tmp_path, clock, State.LV, Input.LOST, False) as stage:
        stage.raw.reset()
        await stage.running.until(lambda: not stage.running.server.connections)
        await stage.running.publish()
        clock.jump(100)
        await trio.testing.wait_all_tasks_blocked()
        counters = stage.running.server.counters
        assert (counters.accepted, counters.resets, counters.closes, counters.failures) == (1, 1, {}, 0)


def test_every_input_has_a_scene() -> None:
    assert set(Input) == APPLY.keys()
    for case in cases():
        assert set(case[0].effects) <= TOLD.keys() | SHOWN_ELSEWHERE
