"""What says most in one line."""

from observatory.core.telling import HOOK, telling


def test_the_first_field_with_a_text_tells() -> None:
    assert telling({"path": "/p", "command": "ls"}) == "ls"
    assert telling({"command": "", "path": 5, "url": "u"}) == "u"
    assert telling({"message": "m"}) is None
    assert telling({"message": "m"}, HOOK) == "m"
