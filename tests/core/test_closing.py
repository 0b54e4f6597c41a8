"""Close codes: what each asks of the client."""

from observatory.core.closing import FINAL, CloseCode


def test_codes_from_4500_are_final_and_those_below_are_not() -> None:
    for code in CloseCode:
        if code >= 4000:
            assert (code in FINAL) == (code >= 4500), code


def test_a_client_that_broke_the_protocol_does_not_come_back() -> None:
    broken = {CloseCode.PROTOCOL_ERROR, CloseCode.BINARY, CloseCode.BAD_UTF8, CloseCode.TOO_BIG}
    assert {code for code in FINAL if code < 4000} == broken


def test_the_ends_of_the_server_invite_back() -> None:
    ours = {CloseCode.GOING_AWAY, CloseCode.HANDLER_FAILED, CloseCode.RESTART, CloseCode.OVERLOAD}
    assert not ours & FINAL
