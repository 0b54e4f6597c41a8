"""The table of states: each pair of state and input has the row that the text says, and docs/protocol.md shows it."""

import re
from pathlib import Path

import pytest

from observatory.core import states
from observatory.core.closing import CloseCode
from observatory.core.events import LogPosition
from observatory.core.protocol import At, Session
from observatory.core.requests import Subscribe
from observatory.core.states import NOTHING, TABLE, Input, State, closing, standing, step

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"

# The row of each pair, read from the text and not from the table; "-": no row is meant, nothing happens.
MATRIX = """
                        HS  UA  ID  LV  BH  CL  GO
UPGRADE                  1   -   -   -   -   -  30
UPGRADE_WITH_TOPICS      1   -   -   -   -   -  30
UPGRADE_LEGACY           2   -   -   -   -   -  30
UPGRADE_UNPROVEN         3   -   -   -   -   -  30
UPGRADE_REFUSED          4   -   -   -   -   -  30
HEAD_LATE                4   -   -   -   -   -  30
AUTH_GOOD                -   5   -   -   -  29  30
AUTH_GOOD_WITH_TOPICS    -   5   -   -   -  29  30
AUTH_BAD                 -   6   -   -   -  29  30
AUTH_LATE                -   6   -   -   -   -  30
OVER_RATE                -   6   7   7   7  29  30
FLOOD                    -   6   7   7   7  29  30
INVALID                  -   6   8   8   8  29  30
INVALID_TOO_OFTEN        -   6   8   8   8  29  30
SUBSCRIBE                -   6   9  13  13  29  30
RESUME_AT_HEAD           -   6  10  12  12  29  30
RESUME_BEHIND            -   6  10  12  12  29  30
RESUME_REFUSED           -   6  11  12  12  29  30
QUESTION                 -   6  13  13  13  29  30
PONG                     -   6  13  13  13  29  30
EVENT_FITS               -  17  17  14  17  17  30
EVENT_TOO_MUCH           -  17  17  15  17  17  30
EVENT_ELSEWHERE          -  17  17  16  17  17  30
CURSOR_TRIMMED           -   -   -   -  18   -  30
OUTBOX_HALF_EMPTY        -   -   -   -  19   -  30
CAUGHT_UP                -   -   -   -  20   -  30
LOG_CHANGED              -   -   -  21  21   -  30
PING_DUE                 -   -  22  22  22   -  30
STALLED                  -   -  23  23  23  23  30
SILENT                   -   -  24  24  24   -  30
NO_REQUEST               -   -  25   -   -   -  30
DRAIN                    -  26  26  26  26   -  30
DRAIN_SLOT              26  26  26  26  26   -  30
SECOND_SIGNAL           26  26  26  26  26   -  30
BINARY                   -   6  27  27  27  29  30
TOO_BIG                 27  27  27  27  27   -  30
BAD_UTF8                27  27  27  27  27   -  30
BAD_FRAME               27  27  27  27  27   -  30
DEFECT                  27  27  27  27  27   -  30
OVERLOAD                 -   -  27  27  27   -  30
REMOVED                  -   -  27  27  27   -  30
CREDENTIAL_EXPIRED       -   -  27  27  27   -  30
PEER_CLOSES             28  28  28  28  28  29  30
ECHOED                   -   -   -   -   -  29  30
CLOSE_LATE               -   -   -   -   -  29  30
LOST                     4  30  30  30  30  30  30
"""


def matrix() -> dict[tuple[State, Input], int]:
    head, *lines = MATRIX.strip().splitlines()
    names = head.split()
    found = {}
    for line in lines:
        input_, *rows = line.split()
        assert len(rows) == len(names)
        for name, row in zip(names, rows, strict=True):
            found[State[name], Input[input_]] = 0 if row == "-" else int(row)
    return found


@pytest.mark.parametrize("legacy", [False, True])
def test_each_pair_of_state_and_input_has_exactly_the_row_that_the_text_says(legacy: bool) -> None:
    text = matrix()
    assert text.keys() == {(state, input_) for state in State for input_ in Input}
    for (state, input_), number in text.items():
        assert step(state, input_, legacy).number == number, (state, input_)


def test_every_row_is_reached_and_none_stands_in_anothers_way() -> None:
    assert {row.number for row in TABLE} == set(range(1, 31))
    for row in TABLE:
        pairs = [(state, input_) for state in row.states for input_ in row.inputs]
        assert any(step(*pair, legacy=bool(row.legacy)) is row for pair in pairs), row


def test_a_row_that_closes_leads_to_closing_and_gone_is_left_by_nothing() -> None:
    for row in TABLE:
        assert row.close is None or row.next is State.CL
    assert all(step(State.GO, input_).after(State.GO) is State.GO for input_ in Input)
    assert NOTHING.after(State.LV) is State.LV


def test_each_code_that_the_server_says_has_its_row_and_1000_is_only_an_echo() -> None:
    closes = {row.close for row in TABLE if row.close is not None}
    assert closes == set(CloseCode) - {CloseCode.NORMAL, CloseCode.STALLED}


def test_a_code_closes_only_where_a_row_says_so() -> None:
    assert closing(State.ID, CloseCode.NO_REQUEST).number == 25
    assert closing(State.LV, CloseCode.NO_REQUEST) is NOTHING
    assert closing(State.BH, CloseCode.TOO_SLOW).number == 18
    assert closing(State.UA, CloseCode.BAD_CREDENTIAL).number == 6
    assert closing(State.LV, CloseCode.BAD_CREDENTIAL).number == 27
    assert all(closing(state, code) is NOTHING for state in (State.CL, State.GO) for code in CloseCode)


@pytest.mark.parametrize(("pos", "state"), [(None, State.ID), (9, State.LV), (8, State.BH)])
def test_an_open_state_follows_from_the_position(pos: int | None, state: State) -> None:
    assert standing(pos, 9) is state


def test_a_session_moves_by_the_table_and_closes_once() -> None:
    session = Session()
    assert session.on(Input.UPGRADE_WITH_TOPICS).next is State.LV
    assert not session.closes(CloseCode.NO_REQUEST)
    assert session.closes(CloseCode.TOO_SLOW)  # it may be behind by now
    assert not session.closes(CloseCode.RESTART)
    assert session.on(Input.QUESTION).number == 29
    assert session.on(Input.LOST).next is session.state is State.GO


def test_a_request_settled_after_the_close_leaves_the_connection_closing() -> None:
    session = Session()
    session.on(Input.UPGRADE)
    assert session.closes(CloseCode.RESTART)
    session.settle(Subscribe(1, ("system",)), At(None, LogPosition("k3x9q2", 9, 1), 0, 5))
    assert session.state is State.CL


def rows_of_the_page() -> dict[int, tuple[str, str]]:
    """Number → states and the rest, as docs/protocol.md has them."""
    section = PAGE.read_text().partition("\n## States\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\d+) \| ([^|]*) \| (.*) \|$", section, re.MULTILINE)
    return {int(number): (names, rest) for number, names, rest in found}


def test_the_page_has_the_tables_rows_with_their_states_and_codes() -> None:
    page = rows_of_the_page()
    assert page.keys() == set(range(1, 31))
    groups = {"open": {State.ID, State.LV, State.BH}, "any": set(State) - {State.HS}}
    for number, (names, rest) in page.items():
        rows = [row for row in TABLE if row.number == number]
        shown = set[State]().union(*(groups.get(name) or {State[name]} for name in names.split(", ")))
        assert shown == {state for row in rows for state in row.states}, number
        nexts = {row.next for row in rows if row.next is not None}
        assert {State[name] for name in re.findall(r"→ ([A-Z]{2})\b", rest)} == nexts, number
        codes = {row.close.value for row in rows if row.close is not None}
        shown_codes = {int(code) for code in re.findall(r"\b(?:1\d{3}|4\d{3})\b", rest)}
        assert shown_codes == codes | SHOWN_TOO.get(number, set())


SHOWN_TOO = {23: {4009}, 28: {1000}}  # in the log only; the echo of a close without a code


def test_the_states_on_the_wire_are_those_of_the_page() -> None:
    for state in states.OPEN:
        assert f"`{state.value}`" in PAGE.read_text()
