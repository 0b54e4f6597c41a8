import pytest

from observatory.core.batch import id_of, key_of_id, record_key


def test_a_records_id_and_its_key_are_one_and_the_same() -> None:
    key = record_key(12, 3, 48_211)
    assert id_of(key) == "12-3-48211"
    assert key_of_id("12-3-48211") == key


@pytest.mark.parametrize(
    "text", ["", "1-2", "a-b-c", "1-2-3-4", "-1-2-3", "1-64-0", "1048576-0-0", "1-0-137438953472", "1-0-٣"]
)
def test_what_is_no_id_has_no_key(text: str) -> None:
    assert key_of_id(text) is None
