"""Against a real project at Supabase, if somebody asks for it: OBSERVATORY_LIVE_SUPABASE=1 and SUPABASE_DB_URL.

It makes a schema of its own there and drops it at the end. It has not been run: see docs/supabase.md.
"""

import os
from pathlib import Path

import attrs
import pytest
from psycopg import sql

from observatory.sinks import migrating
from observatory.sinks.copying import Settings
from tests.postgres import Cluster
from tests.sinks import equal
from tests.sinks.stage import Stage, conversation

SCHEMA = "observatory_live_test"
ASKED = os.environ.get("OBSERVATORY_LIVE_SUPABASE") == "1" and os.environ.get("SUPABASE_DB_URL")


@attrs.define(eq=False)
class Hosted(Stage):
    """A stage whose database is a real project's."""

    @property
    def url(self) -> str:
        """The project's database."""
        return os.environ["SUPABASE_DB_URL"]


@pytest.mark.skipif(not ASKED, reason="hosted Supabase is not asked for: OBSERVATORY_LIVE_SUPABASE=1, SUPABASE_DB_URL")
async def test_a_history_is_copied_to_a_real_project(tmp_path: Path) -> None:
    on = Hosted(tmp_path, Cluster(tmp_path, tmp_path, 0, []), "postgres")
    on.write("-w/s001.jsonl", *conversation(1, 30))
    await on.archived()
    try:
        login = on.set_up(SCHEMA)
        await on.copy(Settings(str(on.data), db_url=login, schema=SCHEMA))
        assert equal.differences(on.url, equal.wanted(on.data), SCHEMA) == []
    finally:
        with migrating.connected(on.url) as db:
            db.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))
            db.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"observatory_{on.machine}")))
