"""Folding: a file's records into its conversation, by what they add to the ledger. Also runs in worker processes."""

from collections.abc import Callable, Iterable

import attrs
import structlog

from observatory.core import identity
from observatory.core.batch import Flag, SourceRow
from observatory.core.conversation import Conversation, Facts, apply, given_up, is_reply
from observatory.core.forgetting import FORGOTTEN
from observatory.core.particulars import invalid, stray
from observatory.core.replies import rfc3339
from observatory.core.transcript import Malformed, Record
from observatory.ingest.items import Item, public_id
from observatory.ingest.ledger import Ledger

log = structlog.get_logger()


def blank(source: SourceRow, items: Iterable[Item], taken: Callable[[str], bool]) -> Conversation:
    """A file's conversation before its first record, not in a project yet.

    items: those up to the one that proves what the file is. taken: whether an id belongs to another file.
    """
    records = (item.value for item in items if isinstance(item.value, Record))
    inline = next((record.session_id for record in records if record.session_id), None)
    location = identity.locate(source.path, source.root)
    own_id = identity.conversation_id(location, inline, taken, source.path)
    at = rfc3339(source.state.mtime_ns // 1_000_000)
    session, parent = identity.session_id(location, inline), identity.parent_id(location, inline)
    return Conversation(own_id, "", session, source.path, at, at, location.agent_id, parent)


def first_cwd(items: Iterable[Item]) -> str | None:
    """The first working directory that a line tells."""
    return next((item.value.cwd for item in items if isinstance(item.value, Record) and item.value.cwd), None)


def proof(items: Iterable[Item]) -> int | None:
    """The place of the first line which proves that its file is Claude Code's."""
    return next((n for n, item in enumerate(items) if isinstance(item.value, Record) and item.value.recognised), None)


def mark_foreign(items: Iterable[Item], session_id: str) -> None:
    """Mark the lines that name another session than their file's."""
    for item in items:
        if isinstance(item.value, Record) and item.value.session_id not in (None, session_id):
            item.flags |= Flag.FOREIGN


def count(ledger: Ledger, conversation_id: str, items: Iterable[Item]) -> None:
    """Work out what the items' usage adds."""
    for item in items:
        if isinstance(item.value, Record) and item.value.usage and not item.flags & Flag.KNOWN:
            item.growth, item.own_growth = ledger.grow(conversation_id, item.value)


def fold(
    ledger: Ledger, conversation: Conversation, source: SourceRow, items: Iterable[Item], now: str
) -> Conversation:
    """The row after these items, which are counted already. now: the time of live records that have none."""
    for item in items:
        if isinstance(item.value, Record) and not item.flags & Flag.KNOWN:
            conversation = _applied(ledger, conversation, source, item, item.value, now)
        elif isinstance(item.value, Malformed) and item.value.reason != FORGOTTEN and not item.flags & Flag.KNOWN:
            conversation = attrs.evolve(conversation, particulars=invalid(conversation.particulars))
    return conversation


def _applied(
    ledger: Ledger, conversation: Conversation, source: SourceRow, item: Item, record: Record, now: str
) -> Conversation:
    try:
        message_id = record.message.message_id if record.message is not None else None
        news = ledger.calls.note(conversation.id, record, public_id(source, record.offset))
        facts = Facts(
            new_message_id=is_reply(record) and ledger.reply(conversation.id, message_id),
            new_tool_ids=news.calls,
            tool_errors=news.errors,
            growth=item.own_growth,
            at=now if item.live else None,
        )
        after = apply(conversation, record, facts)
        if news.strays:
            after = attrs.evolve(after, particulars=stray(after.particulars, news.strays))
        if after.open_tools is not conversation.open_tools and conversation.open_tools:
            ledger.calls.orphan(conversation.id, given_up(conversation, after, record))
        return after
    except Exception:  # a defect of ours costs the row this one record's effect; the next start would meet it again
        log.exception("line.failed", path=source.path, offset=record.offset, length=record.length)
        return conversation
