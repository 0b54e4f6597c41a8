"""Credentials: where they may stand, and that nothing else counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.credentials import any_good, as_subprotocol, authenticate, late, presented
from observatory.core.errors import RequestError

TOKEN = "s3cret-token_0123456789"


def test_a_token_survives_every_way_of_carrying_it() -> None:
    for headers in (
        {"sec-websocket-protocol": f"observatory.v1, {as_subprotocol(TOKEN)}"},
        {"authorization": f"Bearer {TOKEN}"},
        {"cookie": f"a=1; observatory_token={TOKEN}; b=2"},
        {"cookie": f'observatory_token="{TOKEN}"'},
        {"cookie": f"a=1, observatory_token={TOKEN}"},  # a repeated header, joined
    ):
        assert presented(headers) == (TOKEN.encode(),)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": f"Basic {TOKEN}"}, {"authorization": TOKEN}, {"authorization": "Bearer"},
        {"cookie": f"token={TOKEN}"}, {"cookie": f"xobservatory_token={TOKEN}"}, {"x-token": TOKEN},
        {"sec-websocket-protocol": f"observatory.v1, {TOKEN}"},
    ],
)  # fmt: skip
def test_what_carries_no_credential(headers: dict[str, str]) -> None:
    assert presented(headers) == ()


@pytest.mark.parametrize("entry", ["", "=", "a", "!!!!", "é", "A" * 1001])
def test_a_credential_that_cannot_be_read_is_one_all_the_same_and_not_good(entry: str) -> None:
    found = presented({"sec-websocket-protocol": f"observatory.token.{entry}"})
    assert len(found) == 1
    assert not any_good(found, TOKEN)


def test_one_good_one_is_enough() -> None:
    assert any_good((b"stale", TOKEN.encode()), TOKEN)
    assert any_good((TOKEN.encode(), b""), TOKEN)
    assert not any_good((b"stale", b""), TOKEN)
    assert not any_good((), TOKEN)


def test_auth_names_the_token_and_its_id_comes_back() -> None:
    assert authenticate(f'{{"type":"auth","id":"a","data":{{"token":"{TOKEN}"}}}}', TOKEN) == "a"
    assert authenticate(f'{{"type":"auth","data":{{"token":"{TOKEN}"}}}}', TOKEN) is None


@pytest.mark.parametrize(
    ("message", "re"),
    [
        ('{"type":"auth","id":3,"data":{"token":"other"}}', 3), ('{"type":"auth","id":3,"data":{"token":null}}', 3),
        ('{"type":"auth","id":3,"data":[]}', 3), ('{"type":"auth","data":{"token":"\\u00e9"}}', None),
        ('{"type":"ping","id":3}', 3), ("[]", None), (b"\x00", None), ("", None),
    ],
)  # fmt: skip
def test_anything_else_is_unauthorized(message: str | bytes, re: int | None) -> None:
    with pytest.raises(RequestError) as caught:
        authenticate(message, TOKEN)
    assert (caught.value.code, caught.value.re) == ("UNAUTHORIZED", re)
    assert TOKEN not in str(caught.value)


def test_nothing_in_time_is_unauthorized() -> None:
    assert late().code == "UNAUTHORIZED"


@given(st.dictionaries(st.sampled_from(["sec-websocket-protocol", "authorization", "cookie"]), st.text()))
def test_no_header_ends_in_an_exception_or_is_good_by_chance(headers: dict[str, str]) -> None:
    assert not any_good(presented(headers), TOKEN)


@given(st.text() | st.binary())
def test_no_first_message_ends_in_an_exception(message: str | bytes) -> None:
    with pytest.raises(RequestError):
        authenticate(message, TOKEN)
