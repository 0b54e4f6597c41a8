import pytest

from observatory.core.errors import UsageError
from observatory.core.pruning import age, before, size


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("2W", 1_209_600), ("1m", 2_592_000), ("1y", 31_536_000)]
)
def test_an_age_as_typed(text: str, seconds: float) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "d", "3", "-3d", "3 days", "1.5d", "1234567d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UsageError, match="is no age; write it as"):
        age(text)


@pytest.mark.parametrize(
    ("text", "many"),
    [("100", 100), ("1kB", 1000), ("2GiB", 2 * 1024**3), ("3 mb", 3_000_000), ("1Ti", 1024**4), ("5b", 5)],
)
def test_a_size_as_typed(text: str, many: int) -> None:
    assert size(text) == many


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1.5GB", "1TB2", "1x", "1t"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size; write it as"):
        size(text)


def test_the_moment_so_long_ago() -> None:
    assert before(1_795_381_200, 86_400) == "2026-11-21T21:00:00.000Z"
    assert before(100, 1e6) == "1970-01-01T00:00:00.000Z"
