"""What the client's decisions may ask of its shell: effects of a frame, verdicts on the end of a connection."""

from typing import Any

import attrs

from observatory.core.client_items import Item
from observatory.core.closing import CloseCode
from observatory.core.errors import WorldError


@attrs.frozen
class Send:
    """Send a request."""

    type: str
    data: dict[str, Any]
    id: int | None = None


@attrs.frozen
class Deliver:
    """Hand an item to the user."""

    item: Item


@attrs.frozen
class Leave:
    """Close the connection with this code, then reconnect."""

    code: int
    reason: str
    not_before: float = 0.0


@attrs.frozen
class Fail:
    """Close the connection for good: the user must change something."""

    error: WorldError
    code: int = CloseCode.NORMAL


@attrs.frozen
class Retry:
    """Connect again after `delay` seconds; `error` is what a client that does not reconnect reports."""

    error: WorldError
    delay: float


@attrs.frozen
class GiveUp:
    """Do not connect again: show the error."""

    error: WorldError


Effect = Send | Deliver | Leave | Fail
Verdict = Retry | GiveUp
