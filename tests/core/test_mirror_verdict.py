"""What a database's refusal means: later, not without a person, or not these rows."""

import pytest

from observatory.core.mirror_verdict import (
    INIT,
    KEY,
    MIGRATE,
    Again,
    Paused,
    Rejected,
    of_answer,
    of_code,
    of_connecting,
    short,
)


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        ("42501", Paused, KEY),
        ("42P01", Paused, INIT),
        ("42703", Paused, MIGRATE),
        ("PGRST205", Paused, INIT),
        ("PGRST204", Paused, MIGRATE),
        ("PGRST303", Paused, KEY),
        ("42601", Paused, MIGRATE),
        ("22P05", Rejected, None),
        ("23505", Rejected, None),
        ("54000", Rejected, None),
        ("PGRST102", Rejected, None),
        ("57P01", Again, None),
        ("40001", Again, None),
        ("08006", Again, None),
        ("PGRST000", type(None), None),
        ("", type(None), None),
    ],
)
def test_the_code_decides(code: str, kind: type, hint: str | None) -> None:
    found = of_code(code, "why\nand more")
    assert type(found) is kind
    assert getattr(found, "hint", None) == hint
    assert found is None or "why" in found.reason


def test_what_took_too_long_is_tried_with_less() -> None:
    assert of_code("57014", "canceling statement due to statement timeout") == Again(
        "canceling statement due to statement timeout", smaller=True
    )


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "", Again("too many requests", 7.0, smaller=True)),
        (503, "PGRST002", Again("it answers 503 (why)", 7.0)),
        (525, "", Again("it answers 525 (why)", 7.0)),
        (409, "", Again("it answers 409 (why)", 7.0)),
        (409, "23505", Rejected("why")),
        (413, "413", Rejected("it answers 413 (why)")),
        (401, "401", Paused("the key is not accepted (why)", KEY)),
        (404, "404", Paused("it answers 404 (why)", "check SUPABASE_URL: https://<project>.supabase.co")),
    ],
)
def test_an_answer_without_a_code_is_judged_by_its_status(status: int, code: str, expected: object) -> None:
    assert of_answer(status, code, "why", 7.0) == expected


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('connection failed: FATAL:  password authentication failed for user "x"', Paused),
        ("FATAL: Tenant or user not found", Paused),
        ('FATAL:  database "nope" does not exist', Paused),
        ('invalid sslmode value: "x"', Paused),
        ("connection refused", Again),
        ("", Again),
    ],
)
def test_a_connection_that_fails_has_no_code(message: str, kind: type) -> None:
    assert type(of_connecting(message)) is kind


def test_a_message_is_told_in_one_line() -> None:
    assert short("  one\ntwo") == "one"
    assert len(short("x" * 1000)) == 300
    assert short("\n") == "it does not say why"
