"""Names instead of topics: what each stands for, and what is said when it stands for nothing or for several things."""

import pytest

from observatory.core.errors import UsageError
from observatory.core.naming import Names, Place, is_name, project_of, topic_of

SHOP, BLOG, OLD_BLOG = "20a1b0672617", "aaaaaaaaaaaa", "bbbbbbbbbbbb"
ONE, TWO = "5e1f0123-0000-4000-8000-000000000001", "5e1f0124-0000-4000-8000-000000000002"
NAMES = Names(
    projects=(
        {"id": SHOP, "name": "shop", "path": "/home/ada/shop"},
        {"id": BLOG, "name": "blog", "path": "/home/ada/blog"},
        {"id": OLD_BLOG, "name": "blog", "path": "/old/blog"},
    ),
    conversations=({"id": ONE}, {"id": f"{ONE}.agent1"}, {"id": f"{ONE}.agent1.deep"}, {"id": TWO}, {"id": "notes"}),
)
LINKS = {"/old/blog": "/archive/blog"}


def place(*directories: str | set[str]) -> Place:
    names = tuple(frozenset({each} if isinstance(each, str) else each) for each in directories)
    return Place(names, lambda path: LINKS.get(path, path))


def meant(text: str, *directories: str | set[str], names: Names = NAMES) -> str:
    return topic_of(text, names, place(*(directories or ("/nowhere", "/"))))


def refused(text: str, *directories: str | set[str], names: Names = NAMES) -> str:
    with pytest.raises(UsageError) as caught:
        meant(text, *directories, names=names)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "topic",
    ["all_conversations", "project_updates", "file_events", "system", f"project:{SHOP}", f"file_events:{SHOP}",
     f"conversation:{ONE}", "other:x"],
)  # fmt: skip
def test_what_can_only_be_a_topic_is_not_looked_up(topic: str) -> None:
    assert not is_name(topic)


@pytest.mark.parametrize(
    "text", [".", "shop", "project:shop", "project:.", "file_events:shop", "conversation:5e1f0123"]
)
def test_the_rest_is_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("shop", f"project:{SHOP}"),
        ("project:shop", f"project:{SHOP}"),
        ("file_events:shop", f"file_events:{SHOP}"),
        (SHOP, f"project:{SHOP}"),
        (f"project:{OLD_BLOG}", f"project:{OLD_BLOG}"),
        (ONE, f"conversation:{ONE}"),
        ("5e1f0123", f"conversation:{ONE}"),
        ("conversation:5e1f0124", f"conversation:{TWO}"),
        (f"{ONE}.agent1", f"conversation:{ONE}.agent1"),
        ("notes", "conversation:notes"),
        ("conversation:not-there-yet", "conversation:not-there-yet"),
    ],
)
def test_a_name_stands_for_one_topic(text: str, topic: str) -> None:
    assert meant(text) == topic


@pytest.mark.parametrize(
    ("directories", "project"),
    [
        (("/home/ada/shop", "/home/ada", "/home", "/"), SHOP),
        (("/home/ada/shop/src", "/home/ada/shop", "/home/ada"), SHOP),
        (({"/home/ada/blog", "/mnt/blog"},), BLOG),
        (("/archive/blog", "/archive"), OLD_BLOG),  # the project's path leads there
    ],
)
def test_a_dot_is_the_nearest_directory_that_is_a_project(directories: tuple[str], project: str) -> None:
    assert meant(".", *directories) == f"project:{project}"
    assert meant("file_events:.", *directories) == f"file_events:{project}"
    assert project_of(".", NAMES, place(*directories)) == project


def test_a_directory_without_a_project_is_told_with_what_to_do() -> None:
    message = refused(".", {"/tmp/\x1b[2J"}, "/tmp")
    assert message.startswith("no project for /tmp/␛[2J or a directory above it yet")
    assert "as soon as Claude Code has worked there" in message


def test_two_projects_of_one_directory_are_named() -> None:
    twins = Names((*NAMES.projects, {"id": "cccccccccccc", "name": "b", "path": "/old/blog"}), ())
    message = refused(".", "/archive/blog", names=twins)
    assert message == (
        f"there is more than one project of this directory; say which: project:{OLD_BLOG} (/old/blog), "
        "project:cccccccccccc (/old/blog)"
    )


def test_a_name_of_several_projects_is_refused_with_their_ids() -> None:
    assert refused("blog") == (
        f"there is more than one project 'blog'; say which: project:{BLOG} (/home/ada/blog), "
        f"project:{OLD_BLOG} (/old/blog)"
    )
    many = Names(tuple({"id": str(n), "name": "x", "path": "/"} for n in range(7)), ())
    assert refused("x", names=many).endswith(" and 2 more")


def test_a_beginning_of_several_conversations_is_refused_with_their_ids() -> None:
    assert refused("5e1f01") == f"more than one conversation begins with '5e1f01': {ONE}, {TWO}"


@pytest.mark.parametrize("text", ["shpo", "project:shpo", "file_events:shpo", "5e1f0", "wether:x", "conversation:ä"])
def test_what_nothing_is_called_is_refused_with_what_there_is(text: str) -> None:
    message = refused(text)
    assert message.startswith("'")
    assert "projects: " in message
    assert "shop" in message
    assert message.endswith("; `observatory ls` lists what there is")


def test_the_nearest_names_are_offered() -> None:
    assert "projects: shop; " in refused("shpo")


def test_without_projects_and_with_more_conversations_than_known_the_refusal_says_so() -> None:
    message = refused("shop", names=Names((), ({"id": "c"},), truncated=True))
    assert message == (
        "'shop' is no topic, and no project or conversation among the newest 1 conversations is called so; "
        "`observatory ls` lists what there is"
    )
