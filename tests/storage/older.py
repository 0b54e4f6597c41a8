"""An archive as an older version left it: the same rows in its tables."""

import sqlite3
from contextlib import closing
from pathlib import Path

OLDEST = Path(__file__).with_name("schema_2.sql")


def make_older(path: Path, version: int) -> None:
    """Bring a closed archive back to version 1 or 2. Its bodies must not be packed."""
    old = path.with_name("older.db")
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.executescript(OLDEST.read_text())
        db.execute("ATTACH ? AS now", (str(path),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            here, there = (_columns(db, schema, table) for schema in ("main", "now"))
            source = {"source_id": "record >> 43"} if table == "copies" else {}
            names = [name for name in here if name in there or name in source]
            values = ", ".join(source.get(name, name) for name in names)
            db.execute(f"INSERT INTO main.{table} ({', '.join(names)}) SELECT {values} FROM now.{table}")
        db.execute("DETACH now")
        if version == 1:
            db.execute("DROP TABLE forgotten")
        db.execute(f"PRAGMA user_version={version}")
    old.replace(path)


def _columns(db: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA {schema}.table_info({table})")]
