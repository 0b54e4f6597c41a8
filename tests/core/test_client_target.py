"""URLs of servers."""

import pytest

from observatory.core.client_target import Target, parse_target
from observatory.core.errors import UsageError


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("ws://127.0.0.1:8765", Target("127.0.0.1", 8765, "/ws", False), "127.0.0.1:8765"),
        ("http://localhost/", Target("localhost", 80, "/ws", False), "localhost"),
        (
            "wss://x.example/live?subscribe=system",
            Target("x.example", 443, "/live?subscribe=system", True),
            "x.example",
        ),
        ("https://[::1]:9000?a=b", Target("::1", 9000, "/ws?a=b", True), "[::1]:9000"),
    ],
)
def test_a_url_names_a_target(url: str, target: Target, authority: str) -> None:
    assert parse_target(url) == target
    assert target.authority == authority


@pytest.mark.parametrize(
    "url", ["", "localhost:8765", "ftp://x", "ws://", "ws://x:99999", "ws://[::1", "ws://x/é", "ws://x/a b"]
)
def test_what_is_no_url_of_a_server_is_the_users_mistake(url: str) -> None:
    with pytest.raises(UsageError, match=r"URL|percent-encode"):
        parse_target(url)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="no credentials") as caught:
        parse_target("ws://ada:s3cret@host/ws")
    assert "s3cret" not in str(caught.value)
