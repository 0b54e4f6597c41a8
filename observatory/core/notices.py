"""Which events are worth a notice to somebody who is not looking. Pure: events and the time go in, notices come out.

A session waits for the person, has finished its turn, or met an error; a budget is passed. Sub-agents are the affair of
their session. What lasts for less than HOLD is nothing: between two turns a session is often idle for a moment.
"""

from typing import Any, Literal

import attrs

from observatory.core.hook_events import HOOK_EVENT, WAITING_HOOKS

Kind = Literal["finished", "waiting", "error", "budget", "more"]
KINDS: tuple[Kind, ...] = ("finished", "waiting", "error", "budget")
HOLD = 3.0  # seconds
MOST, PER_SECONDS = 20, 60.0  # notices; what is beyond them in such a time is told as a number
MOST_KNOWN = 10_000  # conversations remembered; the ones quiet for the longest go first
_KIND_OF: dict[object, Kind] = {"waiting": "waiting", "idle": "finished"}


@attrs.frozen
class Notice:
    """One message. at: seconds since the epoch. conversation_id, title, project_id: None where it is about none."""

    kind: Kind
    text: str
    at: float
    conversation_id: str | None = None
    title: str | None = None
    project_id: str | None = None


@attrs.define
class _Known:
    title: str | None = None
    project_id: str | None = None
    activity: object = None
    said: Kind | None = None  # what was told last, until something else happens
    due: tuple[Kind, float] | None = None  # what will be told, and when, if it is still so


@attrs.define
class Notices:
    """kinds: those that are wanted. `due` is to be asked now and then: some notices wait."""

    kinds: frozenset[str]
    _known: dict[str, _Known] = attrs.field(factory=dict)
    _sent: list[float] = attrs.field(factory=list)
    _more: int = 0

    def take(self, type_: str, data: Any, now: float) -> None:  # noqa: ANN401 - JSON
        """An event, as it was committed."""
        if not isinstance(data, dict):
            return
        if type_ == HOOK_EVENT:
            self._asked(data, now)
            return
        id = data.get("conversation_id" if type_ == "message_added" else "id")
        if not isinstance(id, str) or "." in id:
            return
        if type_ in ("conversation_started", "conversation_update"):
            self._changed(self._of(id), data, now)
        elif type_ == "message_added" and _is_error(data.get("record")):
            self._of(id).due = ("error", now)

    def _asked(self, data: dict[str, Any], now: float) -> None:
        """A hook tells at once what the transcript does not: that a permission is asked for."""
        id = data.get("conversation_id")
        if data.get("hook_event_name") in WAITING_HOOKS and isinstance(id, str):
            self._of(id.partition(".")[0]).due = ("waiting", now + HOLD)

    def forget(self, id: str) -> None:
        """Nothing more is said of it."""
        self._known.pop(id, None)

    def due(self, now: float) -> list[Notice]:
        """What is to be said now."""
        found = []
        for id, known in self._known.items():
            if known.due is None or known.due[1] > now:
                continue
            kind, known.due = known.due[0], None
            if kind != known.said and kind in self.kinds:
                known.said = kind
                found.append(Notice(kind, _words(kind, known.title), now, id, known.title, known.project_id))
        return self._limited(found, now)

    def _limited(self, found: list[Notice], now: float) -> list[Notice]:
        """A storm of them ends in a number."""
        self._sent = [at for at in self._sent if at > now - PER_SECONDS]
        room = max(0, MOST - len(self._sent))
        told, self._more = found[:room], self._more + len(found[room:])
        self._sent += [now] * len(told)
        if self._more and len(self._sent) < MOST:
            told.append(Notice("more", f"and {self._more:,} more", now))
            self._more = 0
            self._sent.append(now)
        return told

    def _changed(self, known: _Known, data: dict[str, Any], now: float) -> None:
        if isinstance(title := data.get("title"), str):
            known.title = title
        if isinstance(project := data.get("project_id"), str):
            known.project_id = project
        if data.get("status") == "error":
            known.due = ("error", now)
        if "activity" not in data or data["activity"] == known.activity:
            return
        before, known.activity = known.activity, data["activity"]
        kind = _KIND_OF.get(known.activity)
        if kind is None:  # it works again: what was said is over
            known.said = known.due = None
        elif before is not None:  # what was so when we came is no news
            known.due = kind, now + HOLD

    def _of(self, id: str) -> _Known:
        known = self._known.pop(id, None) or _Known()
        self._known[id] = known
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return known


def _is_error(record: object) -> bool:
    return isinstance(record, dict) and record.get("kind") == "error"


def _words(kind: Kind, title: str | None) -> str:
    name = title or "a session"
    return {
        "finished": f"finished: {name}",
        "waiting": f"waits for you: {name}",
        "error": f"met an error: {name}",
    }[kind]


@attrs.define
class Spending:
    """Tells once when a period's budget is passed."""

    limit: float
    _told: str | None = None

    def check(self, period: str, spent: float, now: float) -> Notice | None:
        """What was spent in a period, in USD."""
        if spent <= self.limit or period == self._told:
            return None
        self._told = period
        return Notice("budget", f"${spent:,.2f} spent in {period}, more than the budget of ${self.limit:,.2f}", now)
