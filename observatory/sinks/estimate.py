"""How large a copy will be, before anything is sent: from a sample of records all over the archive."""

from pathlib import Path

import attrs
import orjson

from observatory.core.batch import record_key
from observatory.core.mirror_rows import Owner, is_wanted, message_row
from observatory.core.project import Project
from observatory.core.transcript import Record
from observatory.sinks.archive import Scope
from observatory.storage.accounting import archive
from observatory.storage.bodies import Bodies
from observatory.storage.conversations import Stored, record_of
from observatory.storage.decoding import project_of
from observatory.storage.opening import DATABASE, explained

SOURCES, RECORDS = 64, 32  # files that are looked into, and records of each
NOBODY = Owner("0" * 16, "0" * 36, "0" * 12)


@attrs.frozen
class Estimate:
    """rows: messages. bytes: of their rows as they are sent."""

    rows: int
    bytes: int


def estimate(directory: Path, scope: Scope) -> Estimate:
    """Raises StoreError."""
    with archive(directory) as db, explained(directory / DATABASE):
        projects: dict[str, Project] = {
            id: project_of(body) for id, body in db.execute("SELECT id, body FROM projects")
        }
        wanted = {id for id, project in projects.items() if scope.projects is None or scope.projects(project)}
        rows = db.execute(
            "SELECT s.id, s.generation, s.lines, c.project_id FROM sources AS s JOIN conversations AS c"
            " ON c.id = s.conversation_id WHERE s.lines > 0 ORDER BY s.id"
        ).fetchall()
        files = [(source, generation, lines) for source, generation, lines, project in rows if project in wanted]
        bodies, seen, taken, size = Bodies(db), 0, 0, 0
        for source, generation, _ in files[:: max(1, len(files) // SOURCES)]:
            query = (
                "SELECT id, line, length, span, flags, error, codec, body FROM records WHERE id >= ? AND id < ?"
                f" ORDER BY id LIMIT {RECORDS}"
            )
            between = record_key(source, generation, 0), record_key(source, generation + 1, 0)
            for key, line, length, span, flags, error, codec, kept in db.execute(query, between).fetchall():
                seen += 1
                record = record_of(Stored(key, line, length, span, flags, error, bodies.of(key, codec, kept)))
                if isinstance(record, Record) and is_wanted(record, flags, all_kinds=scope.all_kinds):
                    taken += 1
                    size += len(orjson.dumps(message_row(NOBODY, key, line, flags, record)))
        lines = sum(count for _, _, count in files)
        return Estimate(lines * taken // max(seen, 1), lines * size // max(seen, 1))
