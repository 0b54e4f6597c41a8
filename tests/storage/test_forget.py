"""Forgetting on the database: what goes, what stays, and that no byte of it is left in any file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import orjson
import pytest

from observatory.core.batch import (
    Batch,
    ConversationUsage,
    FileState,
    Flag,
    RecordRow,
    SourceRow,
    record_key,
)
from observatory.core.conversation import Conversation
from observatory.core.copy_key import copy_key, digest
from observatory.core.errors import StoreError
from observatory.core.events import Draft
from observatory.core.forgetting import Target
from observatory.core.project import Project
from observatory.core.tools import ToolCallRow
from observatory.core.topics import of_conversation, of_file, of_project
from observatory.core.usage import Usage
from observatory.storage.forget import preview
from observatory.storage.log import EventLog, Retention
from observatory.storage.reader import LogReader
from tests.storage.packing import everything

NOW = 1_795_381_200_000
AT = "2026-01-01T00:00:00.000Z"
SECRET = b"the-secret-that-has-to-go"
STATE = FileState(1, 2, 3, 4, 5)


def body(uuid: str, text: bytes = SECRET) -> bytes:
    message = {"role": "user", "content": text.decode()}
    return orjson.dumps({"type": "user", "uuid": uuid, "sessionId": "s", "timestamp": AT, "message": message})


def add(log: EventLog, source: int, key: str, *bodies: bytes, parent: str | None = None, project: str = "p",
        title: str | None = None, flags: int = 0) -> None:  # fmt: skip
    """A conversation with one record and one event a body, and all that follows from it."""
    batch = Batch()
    path = f"/r/projects/-w/{key}.jsonl"
    batch.sources[source] = attrs.evolve(
        SourceRow(source, path, "/r/projects", STATE), lines=len(bodies), conversation_id=key
    )
    row = Conversation(key, project, "s", path, AT, AT, "a" if parent else None, parent, title, "prompt")
    batch.conversations[key] = row
    batch.projects[project] = Project(project, "w", "/w", "-w", True, AT, AT, AT, conversation_count=3)
    batch.usage[f"m-{key}", key] = ConversationUsage(True, Usage())
    batch.tool_calls[key, "t"] = ToolCallRow(key, "t", "Bash", "1-0-0")
    carried = of_conversation(key, project, [parent] if parent else [])
    batch.drafts.append(Draft("conversation_started", {"id": key, "title": title}, carried))
    offset = 0
    for data in bodies:
        place = (source, 0, offset, len(data), len(data) + 1, 0, key)
        batch.records.append(RecordRow(*place, "user", "prompt", "u", None, AT, flags, None, data))
        key_of = copy_key(data)
        assert key_of is not None
        batch.copies[key_of] = record_key(source, 0, offset)
        if not flags:
            batch.drafts.append(Draft("message_added", {"conversation_id": key, "text": data.decode()}, carried))
        offset += len(data) + 1
    batch.drafts.append(Draft("file_modified", {"conversation_id": key, "file_path": path}, of_file(project)))
    log.append(batch, NOW)


def filled(directory: Path) -> EventLog:
    """c with a sub-agent and a fork that repeats one of its lines; d beside it; e in another project."""
    directory.mkdir(exist_ok=True)
    log = EventLog(directory, "boot")
    add(log, 1, "c", body("1"), body("2", b"more " + SECRET), title="SECRET TITLE " + SECRET.decode())
    add(log, 2, "c.a", body("3"), parent="c")
    add(log, 3, "fork", body("2", b"more " + SECRET), flags=Flag.COPY, title="more " + SECRET.decode())
    add(log, 4, "d", body("4", b"harmless"))
    add(log, 5, "e", body("5", b"other"), project="q")
    return log


def ids(log: EventLog, table: str, column: str = "id") -> set[object]:
    return {row[0] for row in log._db.execute(f"SELECT {column} FROM {table}")}


def test_all_that_belongs_to_a_conversation_goes_and_nothing_else(tmp_path: Path) -> None:
    log = filled(tmp_path)
    removal = log.forget(Target("conversation", "c"), NOW)
    assert [row.id for row in removal.conversations] == ["c", "c.a"]
    assert (removal.records, removal.copied_in, removal.kept_in) == (3, ("fork",), ())
    assert ids(log, "conversations") == {"fork", "d", "e"}
    assert ids(log, "sources") == {3, 4, 5}
    assert ids(log, "usage", "conversation_id") == ids(log, "tool_calls", "conversation_id") == {"fork", "d", "e"}
    assert ids(log, "projects") == {"p", "q"}
    kept = log.project("p")
    assert kept is not None
    assert kept.conversation_count == 1
    assert ids(log, "records", "body") == {b"", body("4", b"harmless"), body("5", b"other")}
    log.close()


def test_a_fork_keeps_the_place_of_a_repeated_line_but_not_its_text_nor_the_title_that_was_made_of_it(
    tmp_path: Path,
) -> None:
    log = filled(tmp_path)
    removal = log.forget(Target("conversation", "c"), NOW)
    ((key, error, left),) = log._db.execute("SELECT id, error, body FROM records WHERE id >> 43 = 3").fetchall()
    assert (error, left) == ("forgotten", b"")
    assert removal.copies == (key,)
    fork = log.conversation("fork")
    assert fork is not None
    assert (fork.title, fork.title_source) == (None, None)
    told = [(event.type, orjson.loads(event.payload)["data"].get("title", "absent")) for event in removal.events]
    assert ("conversation_update", None) in told
    log.close()


def test_clients_are_told_on_the_topics_of_what_went(tmp_path: Path) -> None:
    log = filled(tmp_path)
    events = log.forget(Target("conversation", "c"), NOW).events
    told = {(event.type, orjson.loads(event.payload)["data"]["id"]): event.topics for event in events}
    assert told["conversation_forgotten", "c"] == of_conversation("c", "p")
    assert told["conversation_forgotten", "c.a"] == of_conversation("c.a", "p", ["c"])
    assert told["project_update", "p"] == of_project("p")
    assert [event.seq for event in events] == list(range(events[0].seq, log.position.head + 1))
    log.close()


async def test_the_log_stays_dense_and_a_client_that_resumes_over_the_gap_just_does_not_get_it(tmp_path: Path) -> None:
    log = filled(tmp_path)
    before = log.position
    removal = log.forget(Target("conversation", "c"), NOW)
    reader = LogReader(log)
    rows = await reader.read(0, log.position.head)
    assert [row.seq for row in rows] == list(range(1, log.position.head + 1))
    gone = [row for row in rows if row.seq in removal.seqs]
    assert len(gone) == 4 + 3 + 1  # c: started, two messages, file; its sub-agent; the fork's started with that title
    assert {(row.topics, row.payload) for row in gone} == {(frozenset({""}), b"")}
    assert log.position == attrs.evolve(before, head=before.head + len(removal.events))
    reader.close()
    assert log.trim(Retention(events=5), NOW) == log.position.head - 5
    log.close()


def test_a_project_goes_with_all_its_conversations(tmp_path: Path) -> None:
    log = filled(tmp_path)
    removal = log.forget(Target("project", "p"), NOW)
    assert ids(log, "conversations") == {"e"}
    assert ids(log, "projects") == {"q"}
    assert ids(log, "sources") == {5}
    told = {event.type for event in removal.events}
    assert told == {"conversation_forgotten", "project_forgotten"}
    log.close()


def test_a_fork_that_is_forgotten_says_where_its_copied_lines_stay(tmp_path: Path) -> None:
    log = filled(tmp_path)
    removal = log.forget(Target("conversation", "fork"), NOW)
    assert (removal.kept_in, removal.copies) == (("c",), ())
    assert ids(log, "conversations") == {"c", "c.a", "d", "e"}
    log.close()


def test_files_that_were_not_recognised_go_with_the_project_of_their_folder(tmp_path: Path) -> None:
    log = filled(tmp_path)
    stray = SourceRow(6, "/r/projects/-w/notes.jsonl", "/r/projects", STATE, lines=1)
    agent = SourceRow(7, "/r/projects/-w/c/subagents/agent-b.jsonl", "/r/projects", STATE, lines=1)
    other = SourceRow(8, "/r/projects/-v/notes.jsonl", "/r/projects", STATE, lines=1)
    log.append(Batch(sources={row.id: row for row in (stray, agent, other)}), NOW)
    assert {file.id for file in preview(tmp_path, Target("conversation", "c")).files} == {1, 2, 7}
    log.forget(Target("project", "p"), NOW)
    assert ids(log, "sources") == {5, 8}
    log.close()


def test_what_is_forgotten_is_remembered_by_its_paths_and_by_its_first_records(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.forget(Target("conversation", "c"), NOW)
    kept_out = log.kept_out()
    assert kept_out.paths == {"/r/projects/-w/c.jsonl", "/r/projects/-w/c.a.jsonl"}
    assert kept_out.heads == {digest(body("1")), digest(body("3"))}
    key = copy_key(body("1"))
    assert key is not None
    assert log.first_holder(key) == 0
    log.close()


def test_no_byte_of_it_is_left_in_any_file(tmp_path: Path) -> None:
    log = filled(tmp_path)
    for number in range(20):  # rows that are written again and again, and events that retention trims
        add(log, 1, "c", body("1"), title=f"{number} {SECRET.decode()} title")
    log.trim(Retention(events=30), NOW)
    assert SECRET in everything(tmp_path)
    log.forget(Target("conversation", "c"), NOW)
    assert (log.scrub_due, log.scrub(), log.scrub_due) == (True, True, False)
    assert SECRET not in everything(tmp_path)
    assert log.conversation("d") is not None
    log.close()
    assert SECRET not in everything(tmp_path)


def test_a_reader_puts_the_end_off_and_the_next_try_does_the_rest(tmp_path: Path) -> None:
    log = filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "observatory.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        log.forget(Target("conversation", "c"), NOW)
        assert not log.scrub()
        assert log.scrub_due
        reader.execute("COMMIT")
    assert log.scrub()
    assert SECRET not in everything(tmp_path)
    log.close()


@pytest.mark.parametrize("moment", ["before", "after the vacuum"])
def test_what_a_kill_left_undone_the_next_process_does(tmp_path: Path, moment: str) -> None:
    log = filled(tmp_path)
    log.forget(Target("conversation", "c"), NOW)
    if moment != "before":
        log._db.execute("VACUUM")
    log._db.close()  # a kill: nothing is closed in order
    again = EventLog(tmp_path, "boot")
    assert again.scrub_due
    assert again.scrub()
    assert SECRET not in everything(tmp_path)
    again.close()


def test_forgetting_twice_is_forgetting_once(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.forget(Target("conversation", "c"), NOW)
    head = log.position.head
    again = log.forget(Target("conversation", "c"), NOW)
    assert again.empty
    assert again.events == ()
    assert log.position.head == head
    log.close()


def test_a_forget_that_fails_removes_nothing(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log._db.execute("CREATE TRIGGER t BEFORE DELETE ON conversations BEGIN SELECT raise(ABORT, 'not now'); END")
    before = list(log._db.iterdump())
    with pytest.raises(StoreError, match="not now"):
        log.forget(Target("conversation", "c"), NOW)
    after = list(log._db.iterdump())
    log.close()
    assert after == before
