"""Paths into ids."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.identity import (
    Location,
    clean_id,
    conversation_id,
    encode_slug,
    is_slug_of,
    is_text,
    is_transcript,
    locate,
    parent_id,
    project_id,
    session_id,
)

UUID = "4d5611e5-241a-462a-8d15-5122611a9569"
P = "/home/u/.claude/projects"


def free(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("cwd", "slug"),
    [
        ("/home/u/my_app.v2", "-home-u-my-app-v2"),
        ("/w/a b", "-w-a-b"),
        ("/w/日本", "-w---"),
        ("/w/\U0001f600", "-w---"),
        ("C:\\work", "C--work"),
        ("/" + "a" * 300, "-" + "a" * 199),
    ],
)
def test_a_directory_becomes_a_folder_name(cwd: str, slug: str) -> None:
    assert encode_slug(cwd) == slug


@pytest.mark.parametrize(
    ("slug", "cwd", "fits"),
    [
        ("-w-a-b", "/w/a.b", True),
        ("-w-a_b", "/w/a_b", True),
        ("-w-a", "/w/a.b", False),
        ("-" + "a" * 199 + "-x1y2", "/" + "a" * 300, True),
        ("-" + "a" * 199, "/" + "a" * 199, True),
        ("-" + "b" * 199 + "-x1y2", "/" + "a" * 300, False),
    ],
)
def test_a_folder_is_compared_with_a_directory_never_decoded(slug: str, cwd: str, fits: bool) -> None:
    assert is_slug_of(slug, cwd) is fits


@pytest.mark.parametrize(
    ("path", "root", "location"),
    [
        (f"{P}/-w/{UUID}.jsonl", P, Location("-w", UUID)),
        (f"{P}/-w/{UUID}.jsonl", "/home/u/.claude", Location("-w", UUID)),
        (f"{P}/-w/{UUID}.jsonl", "/home/u/", Location("-w", UUID)),
        (f"/home/u/projects/x{P}/-w/a.jsonl", "/home/u", Location("-w", "a")),
        (f"{P}/-w/agent-ab12.jsonl", P, Location("-w", "agent-ab12", None, "ab12")),
        (f"{P}/-w/agent-.jsonl", P, Location("-w", "agent-")),
        (f"{P}/-w/{UUID}/subagents/agent-ab12.jsonl", P, Location("-w", "agent-ab12", UUID, "ab12")),
        (
            f"{P}/-w/{UUID}/subagents/agent-acompact-e1.jsonl",
            P,
            Location("-w", "agent-acompact-e1", UUID, "acompact-e1"),
        ),
        (
            f"{P}/-w/{UUID}/subagents/workflows/run7/agent-a.jsonl",
            P,
            Location("-w", "agent-a", UUID, "a", "run7"),
        ),
        (
            f"{P}/-w/{UUID}/subagents/workflows/run7/journal.jsonl",
            P,
            Location("-w", "journal", UUID, None, "run7", True),
        ),
        (f"{P}/{UUID}.jsonl", P, Location("", UUID)),
        ("/data/old/-w/a.jsonl", "/data/old", Location("-w", "a")),
        ("/data/old/a.jsonl", "/data/old", Location("", "a")),
        ("/data/old/a.jsonl", "/elsewhere", Location("old", "a")),
        (f"/data/-w/{UUID}/subagents/agent-a.jsonl", "/data", Location("-w", "agent-a", UUID, "a")),
        ("/data/subagents/agent-a.jsonl", "/data", Location("", "agent-a", None, "a")),
        (f"/data/{UUID}/subagents/agent-a.jsonl", "/data", Location("", "agent-a", UUID, "a")),
    ],
)
def test_a_path_says_where_a_transcript_belongs(path: str, root: str, location: Location) -> None:
    assert locate(path, root) == location


@pytest.mark.parametrize(
    ("path", "yes"),
    [
        (f"{P}/-w/{UUID}.jsonl", True),
        (f"{P}/-w/agent-a.jsonl", True),
        (f"{P}/-w/{UUID}/subagents/agent-a.jsonl", True),
        (f"{P}/-w/{UUID}/subagents/workflows/r/journal.jsonl", True),
        (f"/home/memory{P}/-w/{UUID}.jsonl", True),
        (f"{P}/-w/sessions-index.json", False),
        (f"{P}/-w/{UUID}/subagents/agent-a.meta.json", False),
        (f"{P}/-w/{UUID}/tool-results/x.jsonl", False),
        (f"{P}/-w/{UUID}/tool-results/x.txt", False),
        (f"{P}/-w/memory/MEMORY.jsonl", False),
        (f"{P}/-w/memory/notes.md", False),
        ("/home/u/.claude/history.jsonl", False),
        (f"{P}/-w/.jsonl", False),
        (f"{P}/-w/{UUID}.jsonl.tmp", False),
    ],
)
def test_transcripts_are_told_from_their_neighbours(path: str, yes: bool) -> None:
    assert is_transcript(path) is yes


@pytest.mark.parametrize(
    ("location", "inline", "session", "conversation", "parent"),
    [
        (Location("-w", UUID), "other", UUID, UUID, None),
        (Location("-w", UUID), None, UUID, UUID, None),
        (Location("-w", "notes"), "s1", "s1", "notes", None),
        (Location("-w", "notes"), None, "notes", "notes", None),
        (Location("-w", "agent-a", None, "a"), "s1", "s1", "s1.a", "s1"),
        (Location("-w", "agent-a", None, "a"), None, "agent-a", "agent-a", None),
        (Location("-w", "agent-a", UUID, "a"), "own", UUID, f"{UUID}.a", UUID),
        (Location("-w", "agent-a", UUID, "a", "run7"), "own", UUID, f"{UUID}.a", UUID),
        (Location("-w", "journal", UUID, None, "run7", True), None, UUID, f"{UUID}.run7.journal", UUID),
        (Location("-w", "extra", UUID), None, UUID, f"{UUID}.extra", UUID),
    ],
)
def test_ids_follow_from_place_and_lines(
    location: Location, inline: str | None, session: str, conversation: str, parent: str | None
) -> None:
    assert session_id(location, inline) == session
    assert conversation_id(location, inline, free, "/p") == conversation
    assert parent_id(location, inline) == parent


def test_a_stem_at_a_second_path_gets_a_short_stable_suffix() -> None:
    location = Location("-w", UUID)
    seen = {UUID}
    second = conversation_id(location, None, seen.__contains__, "/two")
    assert re.fullmatch(UUID + "-[0-9a-f]{6}", second)
    assert second == conversation_id(location, None, seen.__contains__, "/two")
    assert second != conversation_id(location, None, seen.__contains__, "/three")
    longer = conversation_id(location, None, {UUID, second}.__contains__, "/two")
    assert longer.startswith(second)
    assert len(conversation_id(location, None, lambda _: True, "/two")) == len(UUID) + 33


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_name_becomes_an_id(name: str) -> None:
    found = clean_id(name)
    assert re.fullmatch(r"[!-~]{1,200}", found)
    assert "*" not in found
    if name and len(name) <= 200 and re.fullmatch(r"[!-)+-~]+", name):
        assert found == name


def test_names_that_look_alike_when_cleaned_stay_apart() -> None:
    assert clean_id("a b") != clean_id("a\tb")
    assert clean_id("x" * 300) != clean_id("x" * 301)


def test_a_session_id_is_never_empty_and_always_valid() -> None:
    assert session_id(Location("", ""), None) == "unknown"
    assert session_id(Location("", "a\udcff"), None) == "a\ufffd"


def test_a_project_id_depends_on_machine_and_directory() -> None:
    assert re.fullmatch("[0-9a-f]{12}", project_id("m", "/w\udcff"))
    assert project_id("m", "/w") == project_id("m", "/w") != project_id("m2", "/w")


def test_a_path_that_is_no_utf8_is_no_text() -> None:
    assert is_text("/w/ü")
    assert not is_text("/w/\udcff")
