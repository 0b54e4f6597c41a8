"""Patterns that keep files out."""

import pytest

from observatory.core.exclude import excluder

FILE = "/home/ada/.claude/projects/-home-ada-my-shop/5e1f.jsonl"
AGENT = "/home/ada/.claude/projects/-home-ada-my-shop/5e1f/subagents/agent-a1.jsonl"


@pytest.mark.parametrize(
    "pattern",
    [
        FILE,
        "/home/ada/.claude/projects/-home-ada-my-shop",
        "/home/ada/.claude/projects/-home-ada-my-shop/",
        "-home-ada-my-shop",
        "*-my-shop",
        "-home-*-my-sh?p",
        "projects/-home-ada-*",
        "5e1f.jsonl",
        "/home/ada/my_shop",
        "/home/ada/my_*",
        "/home/[ab]da/my_shop",
        "/home/ada/my_shop/",
        "/",
    ],
)
def test_a_pattern_fits_a_file_a_folder_or_a_working_directory(pattern: str) -> None:
    assert excluder([pattern])(FILE)


def test_what_fits_a_folder_fits_all_below_it() -> None:
    assert excluder(["-home-ada-my-shop"])(AGENT)
    assert excluder(["/home/ada/my_shop"])(AGENT)
    assert excluder(["5e1f"])(AGENT)


@pytest.mark.parametrize(
    "pattern", ["-home-ada-my", "my-shop", "/home/ada/my", "/home/ad", "5e1f", "5E1F.jsonl", "shop.jsonl", "/other/*"]
)
def test_a_pattern_fits_whole_names_only(pattern: str) -> None:
    assert not excluder([pattern])(FILE)


def test_one_of_several_patterns_is_enough_and_none_keeps_nothing_out() -> None:
    assert excluder(["nothing", "-home-ada-*"])(FILE)
    assert not excluder([])(FILE)


def test_stars_without_end_take_no_time_without_end() -> None:
    assert not excluder(["*a" * 50 + "b"])("/" + "a" * 5000)
