"""May a request beside the WebSocket's be answered?"""

import pytest

from observatory.core.handshake import Head, Policy, Visitor
from observatory.core.http_request import check_content_type, check_request, without_base

TOKEN = "t" * 20


def head(method: str = "GET", target: str = "/x", **headers: str) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(method, target, {"host": "localhost", **named})


@pytest.mark.parametrize(
    ("request_", "visitor", "open_to_all", "code"),
    [
        (head(), Visitor(), False, None),
        (head(host="evil"), Visitor(), False, "HOST_NOT_ALLOWED"),
        (head(origin="http://evil"), Visitor(), False, "ORIGIN_NOT_ALLOWED"),
        (head(origin="http://listed", sec_fetch_site="cross-site"), Visitor(), False, None),
        (head(sec_fetch_site="cross-site"), Visitor(), False, "ORIGIN_NOT_ALLOWED"),
        (head(sec_fetch_site="same-site", sec_fetch_mode="navigate"), Visitor(), False, None),
        (head("POST", sec_fetch_site="same-site", sec_fetch_mode="navigate"), Visitor(), False, "ORIGIN_NOT_ALLOWED"),
        (head(sec_fetch_site="none"), Visitor(), False, None),
        (head(), Visitor(ours=False), True, "NOT_YOUR_SERVER"),
        (head(target="/x?Token=1"), Visitor(), True, "CREDENTIAL_IN_URL"),
        (head(), Visitor(token=TOKEN), False, "UNAUTHORIZED"),
        (head(authorization="Bearer no"), Visitor(token=TOKEN), False, "UNAUTHORIZED"),
        (head(authorization=f"Bearer {TOKEN}"), Visitor(token=TOKEN), False, None),
        (head(), Visitor(token=TOKEN), True, None),
        (head(), Visitor(retry_after=3), False, "TOO_MANY_HANDSHAKES"),
    ],
)
def test_the_first_check_that_fails_answers(
    request_: Head, visitor: Visitor, open_to_all: bool, code: str | None
) -> None:
    refused = check_request(request_, Policy(origins=frozenset({"http://listed"})), visitor, open_to_all=open_to_all)
    assert (None if refused is None else refused.code) == code


@pytest.mark.parametrize(
    ("method", "kind", "good"),
    [
        ("GET", "", True),
        ("POST", "application/json", True),
        ("POST", "Application/JSON; charset=utf-8", True),
        ("POST", "", False),
        ("POST", "text/plain", False),
        ("DELETE", "application/json5", False),
    ],
)
def test_what_changes_something_says_that_it_is_json(method: str, kind: str, good: bool) -> None:
    refused = check_content_type(head(method, content_type=kind))
    assert (refused is None) is good


@pytest.mark.parametrize(
    ("target", "base", "found"),
    [
        ("/a", "", "/a"),
        ("/watch/a?b", "/watch", "/a?b"),
        ("/watch", "/watch", "/"),
        ("/watch?b", "/watch", "/?b"),
        ("/watching", "/watch", "/watching"),
        ("/a", "/watch", "/a"),
    ],
)
def test_a_proxy_may_leave_the_public_path_on_a_target(target: str, base: str, found: str) -> None:
    assert without_base(target, base) == found
