"""Where a page of conversations begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.errors import UsageError
from observatory.core.listing import Place, place_of


@given(st.one_of(st.text(max_size=40), st.integers(0, 2**60)), st.text(max_size=40))
def test_a_place_is_read_back(value: str | int, id: str) -> None:
    assert place_of(Place(value, id).text) == Place(value, id)


@pytest.mark.parametrize(
    "cursor", ["x", "", "bnVsbA", "WzFd", "W3RydWUsImEiXQ", "WzEsMV0", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE1LCJhIl0"]
)
def test_what_is_no_place_is_refused(cursor: str) -> None:
    with pytest.raises(UsageError, match="cursor"):
        place_of(cursor)
