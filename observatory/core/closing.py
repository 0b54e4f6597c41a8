"""Close codes (protocol.md §12): 4000–4499 reconnect, 4500–4999 do not."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why the server closes a connection."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    BINARY = 1003
    BAD_UTF8 = 1007
    TOO_BIG = 1009
    HANDLER_FAILED = 1011
    RESTART = 1012
    OVERLOAD = 1013
    NO_REQUEST = 4000
    TOO_SLOW = 4008
    STALLED = 4009  # only in the log: the peer sees a reset
    NO_SIGN_OF_LIFE = 4012
    FLOODING = 4013
    BAD_CREDENTIAL = 4500
    REMOVED = 4503
    TOO_MANY_ERRORS = 4509


FINAL = frozenset({1002, 1003, 1007, 1009, 4500, 4503, 4509})  # a client does not reconnect on these
