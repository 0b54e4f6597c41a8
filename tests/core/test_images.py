"""Images in a record."""

from typing import Any

import orjson

from observatory.core.images import Image, images_of
from observatory.core.lines import Line
from observatory.core.transcript import malformed, parse


def images(*blocks: Any) -> list[Image]:
    line = orjson.dumps({"type": "user", "uuid": "u", "message": {"role": "user", "content": list(blocks)}})
    return images_of(parse(Line(0, len(line), line))[0])


def image(data: str = "aGk=", kind: str = "image/png", how: str = "base64") -> dict[str, Any]:
    return {"type": "image", "source": {"type": how, "media_type": kind, "data": data}}


def test_images_are_found_in_their_order_also_in_results() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}, image("eW8=")]}
    found = images(image(), result, {"type": "tool_result", "tool_use_id": "t", "content": "text"})
    assert found == [Image("image/png", b"hi"), Image("image/png", b"yo")]


def test_what_is_no_image_that_may_be_shown_is_left_out() -> None:
    nested = {"type": "tool_result", "tool_use_id": "t", "content": ["text", 5]}
    others = (image("%%"), image("ü"), image(kind="image/svg+xml"), image(how="url"), {"type": "image"})
    assert images(*others, nested) == []
    assert images_of(malformed(0, 1, "no", b"x")) == []
    line = orjson.dumps({"type": "summary", "summary": "x", "leafUuid": "l"})
    assert images_of(parse(Line(0, len(line), line))[0]) == []
