"""Hook events in the archive: kept once, found by their conversation, and gone with it."""

from pathlib import Path

import orjson

from observatory.core.forgetting import Target
from observatory.core.hook_events import Hook, hook_of
from observatory.core.redact import redact
from observatory.storage.browsing import browsing
from observatory.storage.log import EventLog
from tests.cli.keeping import NEW, OLD, imported, ran, rows, write
from tests.storage.packing import everything
from tests.storage.test_forget import NOW, SECRET, filled


def hook(session: str = "c", key: str | None = None, **more: object) -> Hook:
    return hook_of({"hook_event_name": "Stop", "session_id": session, **more}, key)


def test_what_comes_twice_is_kept_once_and_numbers_do_not_come_back(tmp_path: Path) -> None:
    log = filled(tmp_path)
    first, told = log.hook(hook(key="k"), NOW)
    again, nothing = log.hook(hook(key="k"), NOW)
    assert (first, again, len(told), nothing) == (1, 1, 1, ())
    other, _ = log.hook(hook(), NOW)
    log.forget(Target("conversation", "c"), NOW)
    fresh, _ = log.hook(hook("d", key="k"), NOW)
    assert (other, fresh) == (2, 3)
    log.close()


def test_its_followers_are_those_of_the_transcript_that_it_names(tmp_path: Path) -> None:
    log = filled(tmp_path)
    agent = hook("c", agent_transcript_path="/r/projects/-w/c.a.jsonl", transcript_path="/r/projects/-w/c.jsonl")
    _, (event,) = log.hook(agent, NOW)
    assert event.topics == ("all_conversations", "conversation:c.a", "project:p", "conversation:c")
    _, (event,) = log.hook(hook("c", transcript_path="/nowhere"), NOW)
    assert event.topics == ("all_conversations", "conversation:c", "project:p")
    _, (event,) = log.hook(hook("new", cwd="/w"), NOW)
    assert event.topics[:2] == ("all_conversations", "conversation:new")
    assert event.topics[2].startswith("project:")
    log.close()


def test_nothing_of_it_is_left_when_its_conversation_is_forgotten(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.hook(hook("c", message=SECRET.decode()), NOW)
    log.hook(hook("c.a", message=SECRET.decode()), NOW)
    log.hook(hook("d"), NOW)
    log.forget(Target("conversation", "c"), NOW)
    assert log.scrub()
    assert SECRET not in everything(tmp_path)
    log.close()
    with browsing(tmp_path) as archive:
        assert [len(archive.hooks(key, 0, 10)) for key in ("c", "c.a", "d")] == [0, 0, 1]


def test_a_project_takes_along_what_was_told_of_sessions_without_a_transcript(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.hook(hook("unknown", cwd="/w", message=SECRET.decode()), NOW)
    log.forget(Target("project", "p"), NOW)
    log.forget(Target("project", "q"), NOW)
    assert log._db.execute("SELECT count(*) FROM hook_events").fetchone() == (0,)
    log.close()


def test_keys_are_replaced_before_it_is_stored_or_when_it_leaves(tmp_path: Path) -> None:
    key = "sk-ant-" + "a1B2c3D4" * 6
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    log = EventLog(tmp_path / "a", "boot", redact)
    log.hook(hook(message=key), NOW)
    log.close()
    assert key.encode() not in everything(tmp_path / "a")
    log = EventLog(tmp_path / "b", "boot")
    log.hook(hook(message=key), NOW)
    log.close()
    with browsing(tmp_path / "b", redact) as archive:
        (row,) = archive.hooks("c", 0, 10)
        assert key not in orjson.loads(row.body)["message"]


def test_it_ages_with_its_conversation(tmp_path: Path) -> None:
    write(tmp_path, "oldaaaaa-1", 5, OLD)
    write(tmp_path, "newbbbbb-1", 5, NEW)
    imported(tmp_path)
    log = EventLog(tmp_path / "data", "boot")
    log.hook(hook("oldaaaaa-1"), NOW)
    log.hook(hook("newbbbbb-1"), NOW)
    log.close()
    assert ran(tmp_path, "prune", "--older-than", "1y", "--yes").exit_code == 0
    assert rows(tmp_path, "SELECT conversation_id FROM hook_events") == [("newbbbbb-1",)]


def test_a_rebuilt_archive_has_it(tmp_path: Path) -> None:
    write(tmp_path, "aaaaaaa0-1", 5, NEW)
    imported(tmp_path)
    log = EventLog(tmp_path / "data", "boot")
    log.hook(hook("aaaaaaa0-1", key="k"), NOW)
    log.close()
    done = ran(tmp_path, "doctor", "--rebuild", "--root", str(tmp_path / "root"))
    assert done.exit_code == 0, done.output
    assert rows(tmp_path, "SELECT id, key, conversation_id FROM hook_events") == [(1, "k", "aaaaaaa0-1")]
