"""Presence: which conversations change by mere silence, and when; and what the registry of live sessions says."""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping

import attrs

from observatory.core.conversation import Conversation
from observatory.core.identity import clean_id
from observatory.core.sessions import Session
from observatory.core.status import COMPLETED_AFTER_MS, Word, quiet_since, settled
from observatory.ingest.ledger import Ledger

DUE_A_TURN = 32  # rows settled in one transaction: some 3 ms, so that lines do not wait
TOLD_AT_START = 256  # conversations that a start settles with an event each, the latest; the others change in silence


@attrs.define
class Presence:
    """A heap of due times: work is proportional to what is due. All times in ms of the wall clock.

    A conversation is here while it changes by itself, or its live session is known.
    """

    ledger: Ledger
    wall_ms: Callable[[], int]
    completed_after_ms: int = COMPLETED_AFTER_MS
    silent: set[str] = attrs.field(factory=set)  # rows that a start settles without an event
    _heap: list[tuple[int, str]] = attrs.field(factory=list)  # with entries that `_due` has overtaken
    _due: dict[str, int] = attrs.field(factory=dict)
    _heard: dict[str, int] = attrs.field(factory=dict)  # conversation → when a sub-agent of it last wrote a line
    _words: dict[str, Word] = attrs.field(factory=dict)
    _asked: dict[str, Word] = attrs.field(factory=dict)  # by a hook: a permission that is waited for
    _untold: set[str] = attrs.field(factory=set)  # their history is still coming in: no client knows them

    def start(self, conversation_ids: Iterable[str], untold: Collection[str]) -> None:
        """Look at what was active when the last process ended, the latest first. untold: whose history is not in."""
        now = self.wall_ms()
        for number, key in enumerate(key for key in conversation_ids if key not in untold):
            self._schedule(key, now - TOLD_AT_START + min(number, TOLD_AT_START))  # keeps the order
            if number >= TOLD_AT_START:
                self.silent.add(key)
        self._untold |= set(untold)

    def settle(self, row: Conversation, *, live: bool = False, told: bool = True) -> Conversation:
        """The row as it is now; and remember when to look again. live: it has just got a line.

        told: clients know of it; else it is looked at again when they do.
        """
        now = self.wall_ms()
        if live and row.parent_id is not None:
            self._hear_agent(row, now)
        self.silent.discard(row.id)
        since = max(quiet_since(row, now), self._heard.get(row.id, 0))
        word = self._word(row.id, since) if row.agent_id is None else None
        row, due = settled(row, since, now, self.completed_after_ms, word)
        if not told:
            self._untold.add(row.id)
            due = None
        else:
            self._untold.discard(row.id)
        if due is not None:
            self._schedule(row.id, due)
        else:
            self._due.pop(row.id, None)
            self._rest(row.id)
        return row

    def _word(self, key: str, since: int) -> Word | None:
        """What is said of a conversation: by a hook, until a line or the registry knows better."""
        word, asked = self._words.get(key), self._asked.get(key)
        if asked is None or since > asked.read_ms or (word is not None and word.since_ms > asked.read_ms):
            self._asked.pop(key, None)
            return word
        return asked

    def asked(self, session_id: str) -> None:
        """A hook tells that the session waits for the person, now."""
        key, now = clean_id(session_id), self.wall_ms()
        self._asked[key] = Word("waiting", now, now)
        self._look_at(key, now)

    def _hear_agent(self, row: Conversation, now: int) -> None:
        """A sub-agent at work is a sign of life of those that wait for it."""
        for key in self.ledger.ancestors(row):
            if key in self._due:
                self._heard[key] = now

    def _rest(self, key: str) -> None:
        """Forget what is not needed until something is heard of it."""
        word = self._words.get(key)
        if word is None or word.ended:
            self._heard.pop(key, None)
            self._words.pop(key, None)
            self._asked.pop(key, None)

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _schedule(self, key: str, due: int) -> None:
        if self._due.get(key) != due:
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            if len(self._heap) > 64 + 4 * len(self._due):  # each line of a busy session moves its time
                self._heap = [(due, key) for key, due in self._due.items()]
                heapq.heapify(self._heap)

    @property
    def seconds_left(self) -> float:
        """Until something is due: infinity if nothing ever is, never below 0."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, (self._heap[0][0] - self.wall_ms()) / 1000) if self._heap else math.inf

    def take_due(self) -> list[str]:
        """Conversations to be settled now, at most DUE_A_TURN; they are taken."""
        taken: list[str] = []
        while len(taken) < DUE_A_TURN and self.seconds_left <= 0:
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            taken.append(key)
        return taken

    def settle_due(self) -> dict[str, bool]:
        """Put what is due into the ledger; returns what has changed: conversation → whether clients are told."""
        changed: dict[str, bool] = {}
        for key in self.take_due():
            row = self.ledger.conversation(key)
            if row is None:  # forgotten; or a session that has written nothing yet
                self.silent.discard(key)
                self._rest(key)
                continue
            silently = key in self.silent
            after = self.settle(row)
            if after is not row:
                self.ledger.put_conversation(after)
                changed[key] = not silently
        return changed

    # -- the registry --------------------------------------------------------------------------------------------------

    def hear(self, sessions: Mapping[str, Session]) -> bool:
        """Take what the registry says now, by session id; returns whether something is due because of it."""
        now, said = self.wall_ms(), {clean_id(session.session_id): session for session in sessions.values()}
        for key, word in list(self._words.items()):
            if key not in said and not word.ended:
                self._words[key] = Word("idle", now, now, ended=True)
                self._look_at(key, now)
        for key, session in said.items():
            old = self._words.get(key)
            same = old is not None and not old.ended and old.activity == session.activity
            since = session.since_ms if session.since_ms is not None else old.since_ms if old and same else now
            self._words[key] = Word(session.activity, since, now)
            row = self.ledger.conversation(key) if same else None
            if old is None or not same or (row is not None and quiet_since(row, now) > old.read_ms):
                self._look_at(key, now)
        return self.seconds_left <= 0

    def _look_at(self, key: str, now: int) -> None:
        if key not in self._untold:
            self._schedule(key, now)

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {
            "conversations_in_motion": len(self._due),
            "live_sessions": sum(not word.ended for word in self._words.values()),
        }
