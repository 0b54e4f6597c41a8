"""The ledger's tool calls: which are new, which were answered, which never will be."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import attrs

from observatory.core.blocks import Message
from observatory.core.tools import ToolCallRow, answered, orphaned
from observatory.core.transcript import Record

REMEMBERED = 1024  # calls kept; the result follows within a few lines as a rule, and the store has the others
Key = tuple[str, str]  # conversation and tool_use id


class CallLookup(Protocol):
    """The store's calls."""

    def tool_call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None: ...


class News(NamedTuple):
    """What a line tells: calls not seen before, results that are errors and not seen before, results without a call."""

    calls: int = 0
    errors: int = 0
    strays: int = 0


NOTHING = News()


@attrs.define
class Calls:
    """Reads through to the store. changed: what the store lacks."""

    lookup: CallLookup
    changed: dict[Key, ToolCallRow] = attrs.field(factory=dict)
    _rows: dict[Key, ToolCallRow] = attrs.field(factory=dict)

    def note(self, conversation_id: str, record: Record, public_id: str) -> News:
        """Note a record's calls and results."""
        message = record.message
        if message is None or not (message.tool_calls or message.tool_results):
            return NOTHING
        return News(
            self._called(conversation_id, message, record.timestamp, public_id),
            *self._answered(conversation_id, message, record.timestamp, public_id),
        )

    def _called(self, conversation_id: str, message: Message, at: str | None, public_id: str) -> int:
        new = 0
        for call in message.tool_calls:
            key = (conversation_id, call.id)
            if self._row(key) is None:
                self._put(key, ToolCallRow(conversation_id, call.id, call.name, public_id, at))
                new += 1
        return new

    def _answered(self, conversation_id: str, message: Message, at: str | None, public_id: str) -> tuple[int, int]:
        errors = strays = 0
        for result in message.tool_results:
            key = (conversation_id, result.tool_use_id)
            call = self._row(key)
            if call is None:  # of a call that was compacted away, or of another file
                strays += 1
                continue
            row = answered(call, is_error=result.is_error, at=at, record=public_id)
            if row is not call:
                self._put(key, row)
                errors += result.is_error
        return errors, strays

    def orphan(self, conversation_id: str, tool_use_ids: Iterable[str]) -> None:
        """The turn ended without their results."""
        for tool_use_id in tool_use_ids:
            key = (conversation_id, tool_use_id)
            call = self._row(key)
            if call is not None and (row := orphaned(call)) is not call:
                self._put(key, row)

    def _row(self, key: Key) -> ToolCallRow | None:
        return self._rows.get(key) or self.lookup.tool_call(*key)

    def _put(self, key: Key, row: ToolCallRow) -> None:
        self._rows[key] = self.changed[key] = row

    def take(self) -> dict[Key, ToolCallRow]:
        """What the store lacks, which the caller commits."""
        changed, self.changed = self.changed, {}
        if len(self._rows) > REMEMBERED:
            for key in list(self._rows)[: REMEMBERED // 2]:
                del self._rows[key]
        return changed

    def forget(self) -> None:
        """Rows were removed from the store."""
        self._rows.clear()
