import pytest

from observatory.core.errors import UsageError
from observatory.core.search_page import Place, names_of, place_of, role_of
from observatory.core.search_text import Role


def test_a_place_is_a_cursor_and_back() -> None:
    place = Place(10, 1_795_381_200_000, 20, 77)
    assert place_of(place.text, 77) == place


@pytest.mark.parametrize("cursor", ["", "!", "W10", "WzEsMiwzXQ", "WzEsMiwzLCJ4Il0", "WzEsMiwzLC00XQ"])
def test_what_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(UsageError, match="not of this search"):
        place_of(cursor, 77)
    with pytest.raises(UsageError, match="not of this search"):
        place_of(Place(1, 2, 3, 4).text, 77)


def test_roles_have_names() -> None:
    assert role_of("tool_use") == Role.TOOL_USE
    assert names_of(Role.USER | Role.TOOL_RESULT) == ("user", "tool_result")
    with pytest.raises(UsageError, match="'robot' is no role"):
        role_of("robot")
