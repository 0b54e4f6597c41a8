"""What `observatory top` knows: events in, rows of sessions out. Pure; the time is an argument, and memory is bounded.

Every text is other people's, and is made harmless where it is shown.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from observatory.core.hook_events import WAITING_HOOKS
from observatory.core.instants import ms_of
from observatory.core.telling import HOOK, telling

Sort = Literal["activity", "tokens", "messages", "name"]
SORTS: tuple[Sort, ...] = ("activity", "tokens", "messages", "name")
WINDOW_MS = 60_000  # over which rates are told
MOST_SESSIONS = 5000  # remembered; the ones quiet for the longest go first
LINES_KEPT = 50  # of a session's last lines
TEXT_CHARS = 300
RANK = {"waiting": 0, "working": 1, "idle": 2}


@attrs.define
class Window:
    """A sum over the last minute, second by second."""

    _seconds: deque[tuple[int, float]] = attrs.field(factory=deque)

    def add(self, amount: float, now_ms: int) -> None:
        """So much, now."""
        second = now_ms // 1000
        if self._seconds and self._seconds[-1][0] == second:
            amount += self._seconds.pop()[1]
        self._seconds.append((second, amount))
        self._forget(second)

    def total(self, now_ms: int) -> float:
        """What came in the last minute."""
        self._forget(now_ms // 1000)
        return sum(amount for _, amount in self._seconds)

    def bars(self, now_ms: int) -> list[float]:
        """Each of the last sixty seconds, the oldest first."""
        known, second = dict(self._seconds), now_ms // 1000
        return [known.get(second - ago, 0.0) for ago in range(WINDOW_MS // 1000 - 1, -1, -1)]

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_MS // 1000:
            self._seconds.popleft()


@attrs.define
class Session:
    """A conversation. now: what it does, in words; asks: a permission, told by a hook, until something follows."""

    id: str
    project_id: str = ""
    parent_id: str | None = None
    title: str | None = None
    status: str = "active"
    activity: str = "idle"
    model: str | None = None
    messages: int = 0
    tokens: int = 0
    updated_ms: int = 0
    now: str = ""
    asks: bool = False
    open_calls: dict[str, str] = attrs.field(factory=dict)
    rate: Window = attrs.field(factory=Window)
    lines: deque[str] = attrs.field(factory=lambda: deque(maxlen=LINES_KEPT))

    @property
    def shown(self) -> str:
        """Its activity, or that it is over."""
        if self.asks:
            return "waiting"
        return self.status if self.status != "active" else self.activity


@attrs.frozen
class Row:
    """A session as it is shown. agents: sub-agents at work; depth: 1 for a sub-agent."""

    id: str
    shown: str
    project: str
    title: str
    model: str
    now: str
    age_seconds: float
    messages: int
    tokens_per_min: float
    tokens: int
    agents: int
    depth: int = 0


@attrs.define
class TopState:
    """Fed by one follower of `all_conversations` and `project_updates`, with its snapshot."""

    sessions: dict[str, Session] = attrs.field(factory=dict)
    projects: dict[str, str] = attrs.field(factory=dict)
    events: Window = attrs.field(factory=Window)
    tokens: Window = attrs.field(factory=Window)

    def load(
        self, projects: Iterable[Mapping[str, Any]], conversations: Sequence[Mapping[str, Any]], now_ms: int
    ) -> None:
        """A snapshot: it replaces everything, but what is known of rates and last lines."""
        before, self.sessions = self.sessions, {}
        self.projects = {str(row["id"]): str(row["name"]) for row in projects}
        for row in reversed(conversations):
            id = str(row["id"])
            self.sessions[id] = before.get(id) or Session(id)
            self._merge(self.sessions[id], row, now_ms)

    def take(self, type_: str, data: Any, now_ms: int) -> None:  # noqa: ANN401 - any JSON value
        """An event."""
        self.events.add(1, now_ms)
        if not isinstance(data, dict):
            return
        match type_:
            case "conversation_started" | "conversation_update":
                self._merge(self._of(data.get("id")), data, now_ms)
            case "message_added":
                self._heard(self._of(data.get("conversation_id")), data, now_ms)
            case "hook_event":
                self._told(self._of(data.get("conversation_id")), data, now_ms)
            case "project_update":
                self.projects[str(data.get("id"))] = str(data.get("name"))
            case "conversation_forgotten":
                self.sessions.pop(str(data.get("id")), None)

    def _of(self, id: object) -> Session:
        name = str(id)
        session = self.sessions.pop(name, None) or Session(name)
        self.sessions[name] = session
        if len(self.sessions) > MOST_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        return session

    def _merge(self, session: Session, data: Mapping[str, Any], now_ms: int) -> None:
        for name in ("title", "status", "activity", "model", "parent_id", "project_id"):
            if isinstance(data.get(name), str):
                setattr(session, name, data[name])
        if isinstance(data.get("message_count"), int):
            session.messages = data["message_count"]
        tokens = data.get("tokens")
        if isinstance(tokens, dict):
            session.tokens = sum(count for count in tokens.values() if isinstance(count, int))
        at = data.get("updated_at")
        session.updated_ms = (ms_of(at) if isinstance(at, str) else None) or session.updated_ms or now_ms
        if data.get("activity") in ("idle", "waiting"):
            session.open_calls.clear()

    def _heard(self, session: Session, data: Mapping[str, Any], now_ms: int) -> None:
        session.project_id, session.updated_ms, session.asks = str(data.get("project_id")), now_ms, False
        growth = data.get("usage_delta")
        if isinstance(growth, dict):
            amount = sum(count for count in growth.values() if isinstance(count, int))
            session.rate.add(amount, now_ms)
            self.tokens.add(amount, now_ms)
        message = data.get("message")
        if isinstance(message, dict):
            self._said(session, message)

    def _said(self, session: Session, message: Mapping[str, Any]) -> None:
        who = "you" if message.get("role") == "user" else "claude"
        text = message.get("content")
        if isinstance(text, str) and text.strip() and not message.get("tool_results"):
            session.now = f"{who}: {text.strip()[:TEXT_CHARS]}"
            session.lines.append(session.now)
        for call in _dicts(message.get("tool_calls")):
            told = call.get("tool_input")
            about = telling(told) if isinstance(told, dict) else None
            words = f"→ {call.get('tool_name')} {(about or '')[:TEXT_CHARS]}".rstrip()
            session.open_calls[str(call.get("id"))] = words
            session.lines.append(words)
        for result in _dicts(message.get("tool_results")):
            words = session.open_calls.pop(str(result.get("tool_use_id")), "")
            mark = "✗" if result.get("is_error") else "✓"
            session.lines.append(f"{mark} {str(result.get('content'))[:TEXT_CHARS]}")
            session.now = f"{mark} {words.removeprefix('→ ')}" if words else session.now
        if session.open_calls:
            session.now = next(reversed(session.open_calls.values()))

    def _told(self, session: Session, data: Mapping[str, Any], now_ms: int) -> None:
        payload = data.get("payload")
        about = telling(payload, HOOK) if isinstance(payload, dict) else None
        name = str(data.get("hook_event_name"))
        words = f"⚑ {name} {(about or '')[:TEXT_CHARS]}".rstrip()
        session.lines.append(words)
        session.updated_ms = now_ms
        if name in WAITING_HOOKS:
            session.asks, session.now = True, words

    # -- rows ----------------------------------------------------------------------------------------------------------

    def rows(self, now_ms: int, sort: Sort, *, agents: bool, idle: bool) -> list[Row]:
        """Sessions in order, each followed by its sub-agents if these are wanted. idle: those that are over, too."""
        below: dict[str, list[Session]] = {}
        for session in self.sessions.values():
            if session.parent_id is not None:
                below.setdefault(session.parent_id, []).append(session)
        tops = [one for one in self.sessions.values() if one.parent_id is None]
        tops = [one for one in tops if idle or one.shown in ("working", "waiting") or _is_fresh(one, now_ms)]
        found: list[Row] = []
        for session in sorted(tops, key=lambda one: self._key(one, sort, now_ms)):
            children = below.get(session.id, [])
            busy = sum(child.shown == "working" for child in children)
            found.append(self._row(session, now_ms, busy, 0))
            if agents:
                shown = [child for child in children if idle or child.shown == "working"]
                found += [self._row(child, now_ms, 0, 1) for child in sorted(shown, key=_latest)]
        return found

    def _key(self, session: Session, sort: Sort, now_ms: int) -> tuple[Any, ...]:
        match sort:
            case "activity":
                return RANK.get(session.shown, 3), -session.updated_ms, session.id
            case "tokens":
                return -session.rate.total(now_ms), -session.tokens, session.id
            case "messages":
                return -session.messages, session.id
            case _:
                return self.projects.get(session.project_id, ""), session.title or "", session.id

    def _row(self, session: Session, now_ms: int, busy: int, depth: int) -> Row:
        return Row(
            session.id, session.shown, self.projects.get(session.project_id, session.project_id),
            session.title or "", session.model or "", session.now, max(0, now_ms - session.updated_ms) / 1000,
            session.messages, session.rate.total(now_ms), session.tokens, busy, depth,
        )  # fmt: skip


def _latest(session: Session) -> tuple[int, str]:
    return -session.updated_ms, session.id


def _is_fresh(session: Session, now_ms: int) -> bool:
    return now_ms - session.updated_ms < 30 * WINDOW_MS


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
