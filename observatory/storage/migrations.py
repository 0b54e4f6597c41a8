"""The schema's versions: what leads from one to the next."""

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS

SCHEMA_VERSION = 3
MIGRATIONS: dict[
    int, str
] = {  # version → SQL that leads from it to the next one; statements end with ";" and a newline
    1: "CREATE TABLE forgotten (path TEXT UNIQUE, head INTEGER)",
    2: f"""CREATE TABLE blocks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL, data BLOB NOT NULL);
ALTER TABLE sources ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE copies RENAME COLUMN source_id TO record;
UPDATE copies SET record = record << {GENERATION_BITS + OFFSET_BITS}""",
}
