"""A batch's rows into the tables: the statements, and the values in their order."""

import sqlite3
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from observatory.core.batch import Batch, ConversationUsage, SourceRow, record_key
from observatory.storage import annotations, attachments, hooks
from observatory.storage.bodies import leave_out

_INSERT_RECORD = (
    "INSERT OR IGNORE INTO records (id, length, span, line, conversation_id, type, kind, uuid, message_id, timestamp,"
    f" flags, error, body, codec) VALUES ({', '.join('?' * 14)})"
)
SOURCE_COLUMNS = (
    "id, path, root, dev, ino, size, mtime_ns, ctime_ns,"
    " generation, offset, backfill_until, lines, conversation_id, missing"
)
_CHANGING = SOURCE_COLUMNS.split(", ")[1:]
# Upserts, not replacements: an index whose columns did not change is not touched.
_UPSERT_SOURCE = (
    f"INSERT INTO sources ({SOURCE_COLUMNS}) VALUES ({', '.join('?' * 14)}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _CHANGING)
)
USAGE_COLUMNS = (
    "replied, input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens, at, model, branch,"
    " service_tier, speed, geo, cache_5m, cache_1h, web_searches, cost_usd"
)
_REPLACE_USAGE = (
    f"INSERT OR REPLACE INTO usage (message_id, conversation_id, {USAGE_COLUMNS}) VALUES ({', '.join('?' * 17)})"
)
CALL_COLUMNS = "conversation_id, tool_use_id, name, record, called_at, status, answered_at, duration_ms, result_record"
_REPLACE_CALL = f"INSERT OR REPLACE INTO tool_calls ({CALL_COLUMNS}) VALUES ({', '.join('?' * 9)})"
_call_values = attrgetter(*CALL_COLUMNS.split(", "))
_UPSERT_CONVERSATION = (
    "INSERT INTO conversations (id, project_id, updated_at, body, status) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET project_id = excluded.project_id, updated_at = excluded.updated_at,"
    " body = excluded.body, status = excluded.status"
)
_UPSERT_PROJECT = (
    "INSERT INTO projects (id, path, slug, last_activity, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET path = excluded.path, slug = excluded.slug, last_activity = excluded.last_activity, body = excluded.body"
)


def insert(db: sqlite3.Connection, batch: Batch, now_ms: int) -> None:
    """Put a batch's rows into their tables, in the caller's transaction."""
    many = db.executemany
    if batch.withdrawn:
        leave_out(db, batch.withdrawn)
        many("DELETE FROM records WHERE id = ?", ((key,) for key in batch.withdrawn))
    for annotation in batch.annotations:
        annotations.write(db, annotation)
    if batch.hooks:
        hooks.insert(db, batch.hooks)
    if batch.records:
        many(_INSERT_RECORD, [row.values for row in batch.records])
    if batch.rows:
        many(_INSERT_RECORD, batch.rows)
    if batch.flagged:
        values = ((more, less, key) for key, more, less in batch.flagged)
        many("UPDATE records SET flags = (flags | ?) & ~? WHERE id = ?", values)
    if batch.renamed:  # first out of each other's way: paths are unique
        many("UPDATE sources SET path = path || '#' || id WHERE id = ?", ((source,) for source in batch.renamed))
    if batch.sources:
        many(_UPSERT_SOURCE, map(_source_values, batch.sources.values()))
    if batch.blocks:
        many("INSERT INTO blocks VALUES (?, ?, ?)", ((key, *block) for key, block in batch.blocks.items()))
        many("UPDATE sources SET packed = ? WHERE id = ?", ((place, source) for source, place in batch.packed.items()))
    if batch.adopted:
        adopt = "UPDATE records SET conversation_id = ? WHERE id >= ? AND id < ? AND conversation_id IS NULL"
        many(adopt, ((conversation, *key_range(source)) for source, conversation in batch.adopted))
    encode_row = msgspec.json.encode
    if batch.conversations:
        rows = [(c.id, c.project_id, c.updated_at, encode_row(c), c.status) for c in batch.conversations.values()]
        many(_UPSERT_CONVERSATION, rows)
    if batch.projects:
        projects = [(p.id, p.path, p.slug, p.last_activity, encode_row(p)) for p in batch.projects.values()]
        many(_UPSERT_PROJECT, projects)
    if batch.usage:
        many(_REPLACE_USAGE, (_usage_values(*key, row) for key, row in batch.usage.items()))
    if batch.tool_calls:
        many(_REPLACE_CALL, map(_call_values, batch.tool_calls.values()))
    if batch.ended:
        orphan = "UPDATE tool_calls SET status = 'orphaned' WHERE conversation_id = ? AND status = 'pending'"
        many(orphan, ((conversation,) for conversation in batch.ended))
    if batch.summaries:
        summaries = ((s.leaf_uuid, s.conversation_id, s.offset, s.title) for s in batch.summaries.values())
        many("INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?)", summaries)
    if batch.leaves:
        many("INSERT OR IGNORE INTO leaves VALUES (?, ?)", (key for key, so in batch.leaves.items() if so))
        undone = (key for key, so in batch.leaves.items() if not so)
        many("DELETE FROM leaves WHERE leaf_uuid = ? AND conversation_id = ?", undone)
    if batch.copies:
        many("INSERT OR IGNORE INTO copies VALUES (?, ?)", batch.copies.items())
    if batch.originals:
        many(
            "UPDATE copies SET record = ? WHERE copy_key = ?",
            ((record, key) for key, record in batch.originals.items()),
        )
    if batch.attachments or batch.attachment_parts or batch.swept:
        attachments.insert(db, batch)
    if batch.scanned_roots:
        many("INSERT OR IGNORE INTO roots VALUES (?, ?)", ((root, now_ms) for root in batch.scanned_roots))


def key_range(source_id: int) -> tuple[int, int]:
    """The keys of a source's records: from, and up to but not including."""
    return record_key(source_id, 0, 0), record_key(source_id + 1, 0, 0)


def _usage_values(message_id: str, conversation_id: str, row: ConversationUsage) -> tuple[Any, ...]:
    u, d = row.usage, row.detail
    return (
        message_id, conversation_id, int(row.replied), u.input_tokens, u.output_tokens, u.cache_creation_input_tokens,
        u.cache_read_input_tokens, d.at, d.model, d.branch, d.service_tier, d.speed, d.geo, d.cache_5m, d.cache_1h,
        d.web_searches, d.cost_usd,
    )  # fmt: skip


def _source_values(row: SourceRow) -> tuple[Any, ...]:
    return (
        row.id, row.path, row.root, *attrs.astuple(row.state), row.generation, row.offset, row.backfill_until,
        row.lines, row.conversation_id, int(row.missing),
    )  # fmt: skip
