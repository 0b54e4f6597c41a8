"""The states of one connection as a table: state × input → row, with its effects and the next state.

`docs/protocol.md`, States, has the same rows in words. `Session` and `Connection` ask the table what a request, a timer
or a reason to close means where they stand. Rows 14 to 17 and 19 are the way of every event: Router and Sender decide
them in code of their own, for speed, and tests hold that code against the rows.
"""

from enum import Enum, auto

import attrs

from observatory.core.closing import CloseCode


class State(Enum):
    """Where a connection stands. The values of the three open ones are what confirmations say."""

    HS = "handshake"  # until the first frame is queued, also between the 101 and that
    UA = "unauthenticated"
    ID = "idle"  # open, without a position
    LV = "live"
    BH = "behind"
    CL = "closing"
    GO = "gone"


class Input(Enum):
    """What can happen to a connection. A row's conditions are part of its inputs, so that no row needs a guard."""

    UPGRADE = auto()  # a good v1 upgrade, credentials good or not needed
    UPGRADE_WITH_TOPICS = auto()  # the same with ?subscribe
    UPGRADE_LEGACY = auto()
    UPGRADE_UNPROVEN = auto()  # v1, credentials due, none present
    UPGRADE_REFUSED = auto()
    HEAD_LATE = auto()
    AUTH_GOOD = auto()
    AUTH_GOOD_WITH_TOPICS = auto()
    AUTH_BAD = auto()
    AUTH_LATE = auto()
    OVER_RATE = auto()
    FLOOD = auto()  # the discarded request that is one too many
    INVALID = auto()
    INVALID_TOO_OFTEN = auto()
    SUBSCRIBE = auto()  # without resume
    RESUME_AT_HEAD = auto()  # alone or inside subscribe, like the two below
    RESUME_BEHIND = auto()
    RESUME_REFUSED = auto()
    QUESTION = auto()  # unsubscribe, get_…, ping
    PONG = auto()
    EVENT_FITS = auto()  # committed, matches, fits into the outbox
    EVENT_TOO_MUCH = auto()
    EVENT_ELSEWHERE = auto()  # committed, does not match
    CURSOR_TRIMMED = auto()
    OUTBOX_HALF_EMPTY = auto()  # and pos < head
    CAUGHT_UP = auto()  # pos = head, outbox empty
    LOG_CHANGED = auto()  # replaced, or with a gap that cannot be filled
    PING_DUE = auto()
    STALLED = auto()
    SILENT = auto()
    NO_REQUEST = auto()
    DRAIN = auto()
    DRAIN_SLOT = auto()
    SECOND_SIGNAL = auto()
    BINARY = auto()
    TOO_BIG = auto()
    BAD_UTF8 = auto()
    BAD_FRAME = auto()  # any other violation of RFC 6455
    DEFECT = auto()
    OVERLOAD = auto()
    REMOVED = auto()
    CREDENTIAL_EXPIRED = auto()
    PEER_CLOSES = auto()
    ECHOED = auto()  # the answer to the peer's close frame is written
    CLOSE_LATE = auto()
    LOST = auto()  # EOF or RST


class Effect(Enum):
    """What is done, in the order given. Closing with a code is the row's `close`."""

    SWITCH = auto()  # HTTP 101
    REFUSE = auto()  # an HTTP status
    HELLO = auto()
    TIME_REQUEST = auto()
    TIME_AUTH = auto()
    DISCARD = auto()  # RATE_LIMIT_EXCEEDED at most once a second
    ERROR = auto()
    POSITION_SET = auto()  # the error of that name
    UNAUTHORIZED = auto()
    HOLD = auto()  # topics and filter are set
    AT_HEAD = auto()  # pos := head
    AT_SEQ = auto()  # pos := the seq asked for
    CONFIRM = auto()
    REPLY = auto()
    QUEUE = auto()  # the event's frame; sent + 1; pos := its seq
    PASS_OVER = auto()  # pos := its seq
    READ_PAGE = auto()
    PING = auto()
    CONTROL_PING = auto()
    RESYNC = auto()
    SHUTDOWN = auto()  # server_shutdown
    ECHO = auto()
    RESET = auto()


HS, UA, ID, LV, BH, CL, GO = State
OPEN = (ID, LV, BH)
BEFORE_CLOSING = (HS, UA, *OPEN)
I, E, C = Input, Effect, CloseCode  # noqa: E741 - the table is read as a table
REQUESTS = (
    I.AUTH_GOOD, I.AUTH_GOOD_WITH_TOPICS, I.AUTH_BAD, I.OVER_RATE, I.FLOOD, I.INVALID, I.INVALID_TOO_OFTEN,
    I.SUBSCRIBE, I.RESUME_AT_HEAD, I.RESUME_BEHIND, I.RESUME_REFUSED, I.QUESTION, I.PONG,
)  # fmt: skip
EVENTS = (I.EVENT_FITS, I.EVENT_TOO_MUCH, I.EVENT_ELSEWHERE)
RESUMES = (I.RESUME_AT_HEAD, I.RESUME_BEHIND, I.RESUME_REFUSED)


@attrs.frozen
class Row:
    """One line of the table, or a part of one. next: None = the same state; legacy: None = v1 and legacy alike."""

    number: int
    states: tuple[State, ...]
    inputs: tuple[Input, ...]
    effects: tuple[Effect, ...] = ()
    next: State | None = None
    close: CloseCode | None = None
    legacy: bool | None = None

    def after(self, state: State) -> State:
        """The state that follows."""
        return self.next or state


NOTHING = Row(0, tuple(State), tuple(Input))  # no row is meant: nothing happens

TABLE = (
    Row(1, (HS,), (I.UPGRADE,), (E.SWITCH, E.HELLO, E.TIME_REQUEST), ID),
    Row(1, (HS,), (I.UPGRADE_WITH_TOPICS,), (E.SWITCH, E.HOLD, E.AT_HEAD, E.HELLO), LV),
    Row(2, (HS,), (I.UPGRADE_LEGACY,), (E.SWITCH, E.HOLD, E.AT_HEAD, E.HELLO), LV),
    Row(3, (HS,), (I.UPGRADE_UNPROVEN,), (E.SWITCH, E.TIME_AUTH), UA),
    Row(4, (HS,), (I.UPGRADE_REFUSED,), (E.REFUSE,), GO),
    Row(4, (HS,), (I.HEAD_LATE, I.LOST), (), GO),
    Row(5, (UA,), (I.AUTH_GOOD,), (E.HELLO, E.TIME_REQUEST), ID),
    Row(5, (UA,), (I.AUTH_GOOD_WITH_TOPICS,), (E.HOLD, E.AT_HEAD, E.HELLO), LV),
    Row(6, (UA,), (*REQUESTS, I.BINARY, I.AUTH_LATE), (E.UNAUTHORIZED,), CL, C.BAD_CREDENTIAL),
    Row(7, OPEN, (I.OVER_RATE,), (E.DISCARD,)),
    Row(7, OPEN, (I.FLOOD,), (), CL, C.FLOODING),
    Row(8, OPEN, (I.INVALID,), (E.ERROR,)),
    Row(8, OPEN, (I.INVALID_TOO_OFTEN,), (E.ERROR,), CL, C.TOO_MANY_ERRORS),
    Row(9, (ID,), (I.SUBSCRIBE,), (E.HOLD, E.AT_HEAD, E.CONFIRM), LV),
    Row(10, (ID,), (I.RESUME_AT_HEAD,), (E.HOLD, E.AT_SEQ, E.CONFIRM), LV),
    Row(10, (ID,), (I.RESUME_BEHIND,), (E.HOLD, E.AT_SEQ, E.CONFIRM), BH),
    Row(11, (ID,), (I.RESUME_REFUSED,), (E.HOLD, E.CONFIRM)),
    Row(12, (LV, BH), RESUMES, (E.POSITION_SET,)),
    Row(13, OPEN, (I.SUBSCRIBE,), (E.HOLD, E.CONFIRM)),
    Row(13, OPEN, (I.QUESTION,), (E.REPLY,)),
    Row(13, OPEN, (I.PONG,)),
    Row(14, (LV,), (I.EVENT_FITS,), (E.QUEUE,)),
    Row(15, (LV,), (I.EVENT_TOO_MUCH,), (), BH),
    Row(16, (LV,), (I.EVENT_ELSEWHERE,), (E.PASS_OVER,)),
    Row(17, (ID, BH, UA, CL), EVENTS),
    Row(18, (BH,), (I.CURSOR_TRIMMED,), (), CL, C.TOO_SLOW),
    Row(19, (BH,), (I.OUTBOX_HALF_EMPTY,), (E.READ_PAGE,)),
    Row(20, (BH,), (I.CAUGHT_UP,), (E.PING,), LV, legacy=False),
    Row(20, (BH,), (I.CAUGHT_UP,), (), LV, legacy=True),
    Row(21, (LV, BH), (I.LOG_CHANGED,), (E.RESYNC,), ID, legacy=False),
    Row(21, (LV, BH), (I.LOG_CHANGED,), (E.RESYNC, E.AT_HEAD), LV, legacy=True),
    Row(22, OPEN, (I.PING_DUE,), (E.PING,), legacy=False),
    Row(22, OPEN, (I.PING_DUE,), (E.CONTROL_PING,), legacy=True),
    Row(23, (*OPEN, CL), (I.STALLED,), (E.RESET,), GO),
    Row(24, OPEN, (I.SILENT,), (), CL, C.NO_SIGN_OF_LIFE),
    Row(25, (ID,), (I.NO_REQUEST,), (), CL, C.NO_REQUEST),
    Row(26, (UA, *OPEN), (I.DRAIN,), (E.SHUTDOWN,)),
    Row(26, BEFORE_CLOSING, (I.DRAIN_SLOT,), (), CL, C.RESTART),
    Row(26, BEFORE_CLOSING, (I.SECOND_SIGNAL,), (), CL, C.GOING_AWAY),
    Row(27, OPEN, (I.BINARY,), (), CL, C.BINARY),
    Row(27, BEFORE_CLOSING, (I.TOO_BIG,), (), CL, C.TOO_BIG),
    Row(27, BEFORE_CLOSING, (I.BAD_UTF8,), (), CL, C.BAD_UTF8),
    Row(27, BEFORE_CLOSING, (I.BAD_FRAME,), (), CL, C.PROTOCOL_ERROR),
    Row(27, BEFORE_CLOSING, (I.DEFECT,), (), CL, C.HANDLER_FAILED),
    Row(27, OPEN, (I.OVERLOAD,), (), CL, C.OVERLOAD),
    Row(27, OPEN, (I.REMOVED,), (), CL, C.REMOVED),
    Row(27, OPEN, (I.CREDENTIAL_EXPIRED,), (), CL, C.BAD_CREDENTIAL),
    Row(28, BEFORE_CLOSING, (I.PEER_CLOSES,), (E.ECHO,), CL),
    Row(29, (CL,), (I.PEER_CLOSES, I.ECHOED), (), GO),
    Row(29, (CL,), (I.CLOSE_LATE,), (E.RESET,), GO),
    Row(29, (CL,), (*REQUESTS, I.BINARY)),
    Row(30, (UA, *OPEN, CL), (I.LOST,), (), GO),
    Row(30, (GO,), tuple(Input)),
)


def _first(state: State, input_: Input, legacy: bool) -> Row:
    fitting = (row for row in TABLE if state in row.states and input_ in row.inputs and row.legacy in (None, legacy))
    return next(fitting, NOTHING)


_FOUND = {(s, i, legacy): _first(s, i, legacy) for s in State for i in Input for legacy in (False, True)}


def step(state: State, input_: Input, legacy: bool = False) -> Row:
    """The first row that fits, from the top; NOTHING when none does."""
    return _FOUND[state, input_, legacy]


def closing(state: State, code: CloseCode) -> Row:
    """The row that closes with this code in this state; NOTHING when the code is no reason to close there."""
    return next((row for row in TABLE if row.close is code and state in row.states), NOTHING)


def standing(pos: int | None, head: int) -> State:
    """Which of the open states it is, by the position that the Router knows."""
    return ID if pos is None else LV if pos == head else BH
