"""The tree of errors. Theirs: a bad request, answered. The world's: disk or network, with a cure. Ours: anything else.

ObservatoryError
├── UsageError        the user's mistake; ends in one line and exit code 2
├── WorldError        disk, network, another process; ends in one line and exit code 1
│   ├── StoreError    the event log cannot be opened, read or written
│   │   └── StoreBusy another program has it locked
│   └── Unreachable   no server answers
├── NotBroadcast      a message that was sent to nobody
└── RequestError      a client's bad request; becomes an error reply
"""

import attrs


class ObservatoryError(Exception):
    """Root of all errors that the project raises on purpose."""


class UsageError(ObservatoryError):
    """The user asked for something that cannot be; the message says what to do instead."""


@attrs.define
class WorldError(ObservatoryError):
    """The world does not cooperate. `message` says what happened, `hint` what to do."""

    message: str
    hint: str = ""
    retryable: bool = False

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class StoreError(WorldError):
    """The event log cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another program has the event log locked, which as a rule is over in a moment."""


class Unreachable(WorldError):
    """No server answers at the URL."""


@attrs.define
class NotBroadcast(ObservatoryError):
    """broadcast() could not send a message. `error` is one of docs/library.md, What broadcast returns."""

    error: str
    reason: str

    def __str__(self) -> str:
        return f"{self.error}: {self.reason}"


@attrs.define
class RequestError(ObservatoryError):
    """A request that is answered by an error reply. `code` is one of protocol.md §7."""

    code: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None
    re: str | int | None = None  # id of the request, when it could be read

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
