"""What is meant by a target, what clients are told of it, and which files are kept out."""

import attrs
import pytest

from observatory.core.conversation import Conversation
from observatory.core.events import Draft
from observatory.core.forgetting import (
    ForgottenFile,
    KeptOut,
    Removal,
    Target,
    cleaned,
    drafts_of,
    family,
    fewer,
    topics_of,
)
from observatory.core.project import Project

AT = "2026-01-01T00:00:00.000Z"
PROJECT = Project("p", "w", "/w", "-w", True, AT, AT, AT, conversation_count=2)


def row(key: str, parent: str | None = None, project: str = "p", **fields: object) -> Conversation:
    found = Conversation(key, project, "s", f"/{key}.jsonl", AT, AT, "a" if parent else None, parent)
    return attrs.evolve(found, **fields)  # type: ignore[arg-type]


def id_of(draft: Draft) -> object:
    assert isinstance(draft.data, dict)
    return draft.data["id"]


KNOWN = {found.id: found for found in (row("c"), row("c.a", "c"), row("c.a.b", "c.a"), row("d"), row("e", project="q"))}


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (Target("conversation", "c"), ["c", "c.a", "c.a.b"]),
        (Target("conversation", "c.a"), ["c.a", "c.a.b"]),
        (Target("conversation", "gone"), []),
        (Target("project", "p"), ["c", "c.a", "c.a.b", "d"]),
        (Target("project", "gone"), []),
    ],
)
def test_sub_agents_are_meant_with_what_is_above_them(target: Target, meant: list[str]) -> None:
    assert [found.id for found in family(target, KNOWN)] == meant


def test_rows_that_are_each_others_parents_are_no_loop_without_end() -> None:
    known = {"x": row("x", "y"), "y": row("y", "x")}
    assert len(family(Target("conversation", "x"), known)) == 2
    told = drafts_of(Removal(conversations=tuple(known.values())), known)
    assert [draft.topics for draft in told] == [
        ("all_conversations", "conversation:x", "project:p", "conversation:y", "conversation:x"),
        ("all_conversations", "conversation:y", "project:p", "conversation:x", "conversation:y"),
    ]


def test_a_projects_events_are_those_of_its_topics_too() -> None:
    assert topics_of(Target("conversation", "c"), [KNOWN["c"]]) == {"conversation:c"}
    assert topics_of(Target("project", "p"), []) == {"project:p", "file_events:p"}


def test_clients_are_told_of_each_conversation_of_forks_and_of_the_project() -> None:
    fork = row("f", title="t", title_source="prompt")
    removal = Removal(
        conversations=(KNOWN["c"], KNOWN["c.a"]),
        project=PROJECT,
        cleaned=((fork, cleaned(fork, frozenset({"t"}))), (row("g", last_prompt="t"), row("g"))),
    )
    told = [(draft.type, id_of(draft), draft.topics) for draft in drafts_of(removal, KNOWN | {"f": fork})]
    assert told == [
        ("conversation_forgotten", "c", ("all_conversations", "conversation:c", "project:p")),
        ("conversation_forgotten", "c.a", ("all_conversations", "conversation:c.a", "project:p", "conversation:c")),
        ("conversation_update", "f", ("all_conversations", "conversation:f", "project:p")),
        ("project_update", "p", ("project_updates", "project:p")),
    ]


def test_a_whole_project_is_told_of_once_and_one_without_change_not_at_all() -> None:
    whole = drafts_of(Removal(project=PROJECT, whole_project=True), {})
    assert [(draft.type, draft.data) for draft in whole] == [("project_forgotten", {"id": "p"})]
    assert drafts_of(Removal(project=PROJECT), {}) == []
    assert drafts_of(Removal(), {}) == []


def test_a_row_loses_only_what_came_from_forgotten_lines() -> None:
    known = row("c", title="mine", title_source="ai-title", last_prompt="theirs")
    assert cleaned(known, frozenset({"theirs"})) == attrs.evolve(known, last_prompt=None)
    assert cleaned(known, frozenset({"mine"})) == attrs.evolve(known, title=None, title_source=None)
    named = attrs.evolve(known, first_prompt="first", title_source="summary")
    left = cleaned(named, frozenset({"mine"}))
    assert (left.title, left.title_source) == ("first", "prompt")
    assert cleaned(named, frozenset({"first"})) == attrs.evolve(named, first_prompt=None)


def test_a_project_never_has_fewer_conversations_than_none() -> None:
    assert fewer(PROJECT, [KNOWN["c"], KNOWN["e"]]).conversation_count == 1
    assert fewer(PROJECT, [KNOWN["c"]] * 3).conversation_count == 0


def test_a_removal_is_empty_when_nothing_is_left_to_remove() -> None:
    assert Removal().empty
    assert Removal(project=PROJECT).empty
    assert not Removal(project=PROJECT, whole_project=True).empty
    assert not Removal(files=(ForgottenFile(1, "/a", None),)).empty
    assert not Removal(conversations=(KNOWN["c"],)).empty


def test_forgotten_files_are_kept_out_by_their_path_and_the_folder_of_their_agents() -> None:
    kept_out = KeptOut(excluded=lambda path: path == "/x")
    assert not kept_out.holds("/w/c/subagents/a.jsonl")
    kept_out.add([ForgottenFile(1, "/w/c.jsonl", 7), ForgottenFile(2, "/w/d.jsonl#2", None)])
    assert kept_out.holds("/w/c.jsonl")
    assert kept_out.holds("/w/c/subagents/agent-a.jsonl")
    assert kept_out.holds("/x")
    assert not kept_out.holds("/w/c2.jsonl")
    assert not kept_out.holds("/w/d.jsonl#2")
    assert (kept_out.paths, kept_out.heads) == ({"/w/c.jsonl"}, {7})
