from hypothesis import given
from hypothesis import strategies as st

from observatory.core.events import text_frame
from tests.bench.wire import TEXT, masked, split

PAYLOADS = st.lists(st.sampled_from([b"", b"a", b"x" * 125, b"y" * 126, b"z" * 65535, b"w" * 65536]), max_size=4)


@given(PAYLOADS, st.integers(min_value=0))
def test_frames_are_the_same_however_they_are_cut(payloads: list[bytes], cut: int) -> None:
    stream = b"".join(map(text_frame, payloads))
    at = cut % (len(stream) + 1)
    first, rest = split(stream[:at])
    second, nothing = split(rest + stream[at:])
    assert [payload for _, payload in first + second] == payloads
    assert nothing == b""


def test_a_clients_frame_is_masked_with_zeros() -> None:
    assert masked(TEXT, b"hi") == b"\x81\x82\0\0\0\0hi"
