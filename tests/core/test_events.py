"""Events: the payload fixed at the commit, and the one frame that all clients share."""

import orjson
import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from observatory.core.events import encode, text_frame


def test_the_payload_is_the_envelope_in_a_fixed_order() -> None:
    assert encode("a", {"x": "é"}, 5, 7, "k3x9q2") == (
        '{"type":"a","data":{"x":"é"},"timestamp":5,"seq":7,"epoch":"k3x9q2"}'.encode()
    )


@pytest.mark.parametrize("data", [{"x": {1, 2}}, {"x": "\ud800"}])
def test_what_is_no_json_is_refused(data: object) -> None:
    with pytest.raises(TypeError):
        encode("a", data, 5, 7, "k3x9q2")


def test_numbers_that_json_lacks_become_null() -> None:
    assert orjson.loads(encode("a", {"x": float("nan")}, 5, 7, "k3x9q2"))["data"] == {"x": None}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_a_text_frame_of_any_size_is_read_back_by_another_implementation(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame(b"x" * size) + text_frame(b"next"))
    first, second = client.events()
    assert isinstance(first, TextMessage)
    assert isinstance(second, TextMessage)
    assert (first.data, first.message_finished, second.data) == ("x" * size, True, "next")
