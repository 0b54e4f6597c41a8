import pytest

from observatory.core.errors import UsageError
from observatory.core.setting_values import age_or_off, amount, public_url, retention_of, size_or_off


def test_bounds_of_events_are_told_apart_by_their_shape() -> None:
    assert retention_of("7d") == {"event_retention_seconds": 604_800}
    assert retention_of("500k, 2GiB,12h") == {
        "event_retention_count": 500_000, "event_retention_bytes": 2 * 1024**3, "event_retention_seconds": 43_200
    }  # fmt: skip
    assert retention_of("1m,100MB") == {"event_retention_count": 1_000_000, "event_retention_bytes": 100_000_000}
    assert retention_of("20000") == {"event_retention_count": 20_000}


WRONG = [
    ("", "needs an age, a count or a size"),
    ("off", "is no age"),
    ("1d,2d", "two things of one kind"),
    ("xb", "is no size"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_bounds_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        retention_of(text)


def test_off_is_none() -> None:
    assert age_or_off("off") is age_or_off(None) is size_or_off("OFF") is None
    assert amount("off") is None
    assert age_or_off("180d") == 180 * 86_400
    assert size_or_off(5) == 5
    with pytest.raises(ValueError, match="is no age"):
        age_or_off("x")
    with pytest.raises(ValueError, match="is no size"):
        size_or_off("x")


def test_a_public_address_has_a_scheme_a_host_and_maybe_a_path() -> None:
    assert public_url("https://obs.example/watch/") == "https://obs.example/watch"
    assert public_url("http://[::1]:8080") == "http://[::1]:8080"
    assert public_url("") is public_url(None) is None
    for bad in ("obs.example", "ftp://x", "https://", "https://x?y", "https://x#y", "https://u:p@x", "https://x/a b",
                "https://x:0", "https://[x", "https://x//y"):  # fmt: skip
        with pytest.raises(ValueError, match="is no address"):
            public_url(bad)
