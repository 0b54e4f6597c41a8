"""Images in a record: which there are, and their bytes."""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator

import attrs

from observatory.core.timeline import IMAGES
from observatory.core.transcript import Malformed, Record


@attrs.frozen
class Image:
    """media_type: one that browsers may show."""

    media_type: str
    data: bytes


def images_of(record: Record | Malformed) -> list[Image]:
    """The images that stand in a record itself, in their order; those that are no image are left out."""
    if isinstance(record, Malformed) or record.message is None:
        return []
    return [image for block in record.message.blocks or () for image in _images(block)]


def _images(block: object) -> Iterator[Image]:
    if not isinstance(block, dict):
        return
    if block.get("type") == "image":
        found = _image(block.get("source"))
        if found is not None:
            yield found
    elif isinstance(content := block.get("content"), list):  # of a tool's result
        for item in content:
            yield from _images(item)


def _image(source: object) -> Image | None:
    if not isinstance(source, dict) or source.get("type") != "base64" or source.get("media_type") not in IMAGES:
        return None
    try:
        return Image(str(source["media_type"]), b64decode(str(source.get("data", "")), validate=True))
    except (NotBase64, ValueError):
        return None
