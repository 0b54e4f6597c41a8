"""One-time links: genuine, fresh, once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.login import LINK_SECONDS, NONCE_BYTES, Links, mint, set_cookie

TOKEN = "s3cret-token_0123456789"
NOW = 1_795_381_200.0


def nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def test_a_code_works_once() -> None:
    links, code = Links(), mint(TOKEN, NOW, nonce(1))
    assert links.redeem(code, TOKEN, NOW + 1)
    assert not links.redeem(code, TOKEN, NOW + 2)
    assert links.redeem(mint(TOKEN, NOW, nonce(2)), TOKEN, NOW + 2)


@pytest.mark.parametrize(("age", "works"), [(-6, False), (-4, True), (0, True), (60, True), (60.5, False)])
def test_a_code_is_fresh_for_a_minute(age: float, works: bool) -> None:
    assert Links().redeem(mint(TOKEN, NOW, nonce(1)), TOKEN, NOW + age) == works


def test_a_code_under_another_token_is_none() -> None:
    assert not Links().redeem(mint("another-token-0123456789", NOW, nonce(1)), TOKEN, NOW)


def test_a_code_that_was_changed_anywhere_is_none() -> None:
    code = mint(TOKEN, NOW, nonce(1))
    for n, char in enumerate(code):
        assert not Links().redeem(f"{code[:n]}{'A' if char != 'A' else 'B'}{code[n + 1 :]}", TOKEN, NOW)
    for other in ("", code[:-1], code + "A", code + "=", f" {code}"):
        assert not Links().redeem(other, TOKEN, NOW)


def test_used_codes_are_remembered_for_as_long_as_they_would_work_and_no_longer() -> None:
    links = Links()
    for n in range(1000):
        assert links.redeem(mint(TOKEN, NOW + n, nonce(n)), TOKEN, NOW + n)
    assert len(links._used) <= LINK_SECONDS + 5 + 1
    early = mint(TOKEN, NOW + 2000 + 4, nonce(1))
    assert links.redeem(early, TOKEN, NOW + 2000)
    assert not links.redeem(early, TOKEN, NOW + 2000 + 4 + LINK_SECONDS)


@given(st.text())
def test_no_code_ends_in_an_exception(code: str) -> None:
    assert not Links().redeem(code, TOKEN, NOW)


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites() -> None:
    plain = set_cookie("observatory_token", TOKEN, secure=False)
    assert plain == f"observatory_token={TOKEN}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"
    assert set_cookie("observatory_token", TOKEN, secure=True) == f"{plain}; Secure"


def test_what_was_used_is_in_no_repr() -> None:
    links = Links()
    links.redeem(mint(TOKEN, NOW, nonce(1)), TOKEN, NOW)
    assert repr(links) == "Links()"
