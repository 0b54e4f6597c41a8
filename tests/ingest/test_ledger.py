"""The books in memory: read through to the store, bounded, and never at odds with it."""

from collections.abc import Iterator

import attrs
import pytest

from observatory.core.batch import Batch, ConversationUsage
from observatory.core.conversation import Conversation
from observatory.core.lines import Line
from observatory.core.project import Project
from observatory.core.transcript import Record, parse
from observatory.core.usage import NONE, Usage
from observatory.ingest import ledger as module
from observatory.ingest.ledger import Ledger
from tests.ingest.stage import line, reply

AT = "2026-11-22T21:00:00.000Z"


@attrs.define
class Store:
    """A store of dicts, which takes what a batch holds."""

    conversations: dict[str, Conversation] = attrs.field(factory=dict)
    projects: dict[str, Project] = attrs.field(factory=dict)
    counts: dict[tuple[str, str], ConversationUsage] = attrs.field(factory=dict)
    calls: set[tuple[str, str]] = attrs.field(factory=set)
    asked: int = 0

    def commit(self, batch: Batch) -> None:
        self.conversations |= batch.conversations
        self.projects |= batch.projects
        self.counts |= batch.usage
        self.calls |= batch.tool_calls.keys()

    def conversation(self, conversation_id: str) -> Conversation | None:
        self.asked += 1
        return self.conversations.get(conversation_id)

    def project(self, project_id: str) -> Project | None:
        return self.projects.get(project_id)

    def project_at(self, path: str) -> Project | None:
        return next((project for project in self.projects.values() if project.path == path), None)

    def project_in(self, slug: str) -> Project | None:
        return next((project for project in self.projects.values() if project.slug == slug), None)

    def message_ids(self) -> Iterator[str]:
        return (message_id for message_id, _ in self.counts)

    def usage(self, message_id: str) -> dict[str, ConversationUsage]:
        self.asked += 1
        return {key[1]: row for key, row in self.counts.items() if key[0] == message_id}

    def has_tool_call(self, conversation_id: str, tool_use_id: str) -> bool:
        return (conversation_id, tool_use_id) in self.calls


def conversation(name: str, parent: str | None = None) -> Conversation:
    return Conversation(name, "p", "s", f"/{name}", AT, AT, parent_id=parent)


def project(name: str, path: str) -> Project:
    return Project(name, name, path, f"-{name}", True, AT, AT, AT)


def record(data: bytes) -> Record:
    (found,) = parse(Line(0, len(data), data))
    assert isinstance(found, Record)
    return found


def test_a_row_is_asked_for_once_and_written_once() -> None:
    store = Store({"c": conversation("c")})
    ledger = Ledger(store)
    ledger.put_conversation(attrs.evolve(conversation("c"), title="t"))
    ledger.put_conversation(attrs.evolve(conversation("c"), title="u"))
    batch = Batch()
    before = ledger.take(batch)
    assert before.conversations == {"c": conversation("c")}
    assert batch.conversations["c"].title == "u"
    assert store.asked == 1
    assert ledger.take(Batch()).conversations == {}


def test_a_project_is_found_where_it_is_now_not_where_it_is_stored() -> None:
    store = Store(projects={"p": project("p", "/old")})
    ledger = Ledger(store)
    ledger.put_project(project("p", "/new"))
    assert ledger.project_at("/new") == project("p", "/new")
    assert ledger.project_in("-p") == project("p", "/new")
    assert ledger.project_at("/none") is None
    assert ledger.project_in("none") is None


def test_tokens_grow_by_the_maximum_over_all_conversations() -> None:
    ledger = Ledger(Store())
    assert ledger.grow("a", record(reply(1, "m", output=10))) == (Usage(1, 10), Usage(1, 10))
    assert ledger.grow("a", record(reply(2, "m", output=10))) == (NONE, NONE)
    assert ledger.grow("b", record(reply(3, "m", output=7))) == (NONE, Usage(1, 7))
    assert ledger.grow("b", record(reply(4, "m", output=12))) == (Usage(0, 2), Usage(0, 5))


def test_a_line_without_message_id_counts_by_itself_and_once() -> None:
    ledger = Ledger(Store())
    message = {"role": "assistant", "usage": {"output_tokens": 5}}
    nameless = record(line(type="assistant", message=message))
    later = attrs.evolve(nameless, offset=90)
    named = record(line(type="assistant", uuid="u", message=message))
    assert ledger.grow("a", nameless) == ledger.grow("a", later) == (Usage(0, 5), Usage(0, 5))
    assert ledger.grow("a", nameless) == (NONE, NONE)  # read again
    assert ledger.grow("a", named) == (Usage(0, 5), Usage(0, 5))
    assert ledger.grow("b", named) == (NONE, Usage(0, 5))  # its copy in a fork
    ledger.take(batch := Batch())
    assert batch.usage.keys() == {("line:a@0", "a"), ("line:a@90", "a"), ("line:u", "a"), ("line:u", "b")}
    assert ledger.reply("a", None)
    assert ledger.reply("a", None)


def test_a_messages_row_tells_when_and_by_which_model_it_began() -> None:
    ledger = Ledger(Store())
    ledger.grow("a", record(reply(5, "m", gitBranch="late")))
    ledger.grow("a", record(reply(2, "m", output=3, gitBranch="early")))
    ledger.reply("a", "m")
    ledger.take(batch := Batch())
    row = batch.usage["m", "a"]
    assert (row.replied, row.usage) == (True, Usage(1, 10))
    assert (row.detail.at, row.detail.branch, row.detail.model) == ("2026-11-22T20:00:00.002Z", "early", "m")


def test_an_api_message_is_one_reply_of_each_conversation() -> None:
    ledger = Ledger(Store())
    assert [ledger.reply(name, "m") for name in ("a", "a", "b")] == [True, False, True]


def test_a_tool_call_is_new_once() -> None:
    store = Store()
    ledger = Ledger(store)
    block = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    call = record(line(type="assistant", message={"role": "assistant", "content": [block, block]}))
    assert ledger.tool_calls("a", call, "1-0-0") == 1
    store.commit(batch := Batch())
    ledger.take(batch)
    store.commit(batch)
    assert ledger.tool_calls("a", call, "1-0-9") == 0
    assert ledger.tool_calls("b", call, "2-0-0") == 1


def test_ancestors_end_although_damaged_data_loops() -> None:
    store = Store({name: conversation(name, parent) for name, parent in [("a", "b"), ("b", "c"), ("c", "a")]})
    ledger = Ledger(store)
    assert ledger.ancestors(store.conversations["a"]) == ("b", "c", "a")
    assert ledger.ancestors(conversation("x", "unseen")) == ("unseen",)
    deep = Store({f"n{n}": conversation(f"n{n}", f"n{n + 1}") for n in range(20)})
    assert len(Ledger(deep).ancestors(deep.conversations["n0"])) == module.MAX_DEPTH


def test_what_is_forgotten_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_ROWS", 10)
    store = Store()
    ledger = Ledger(store)
    for number in range(30):
        ledger.put_conversation(conversation(f"c{number}"))
        ledger.put_project(project(f"p{number}", f"/{number}"))
        ledger.grow(f"c{number}", record(reply(number, f"m{number}", output=10)))
        batch = Batch()
        ledger.take(batch)
        store.commit(batch)
        assert max(len(ledger._conversations), len(ledger._projects), len(ledger._usage)) <= 10
    asked = store.asked
    assert ledger.conversation("c0") == conversation("c0")
    assert ledger.project("p0") == project("p0", "/0")
    assert ledger.grow("c0", record(reply(0, "m0", output=15)))[0] == Usage(0, 5)
    assert store.asked == asked + 2


def test_nothing_that_the_store_lacks_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_ROWS", 10)
    ledger = Ledger(Store())
    for number in range(100):
        ledger.put_conversation(conversation(f"c{number}"))
        ledger.grow(f"c{number}", record(reply(number, f"m{number}")))
    batch = Batch()
    ledger.take(batch)
    assert (len(batch.conversations), len(batch.usage)) == (100, 100)
