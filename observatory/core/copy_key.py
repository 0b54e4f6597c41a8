"""The copy key: what a line and a fork's copy of it have in common. Source: transcripts.md §4.

A fork rewrites sessionId, cwd, version and more around the payload, and unrelated lines may share a made-up uuid; so
the key is over uuid, timestamp, type and payload.
"""

from hashlib import blake2b

import orjson

from observatory.core.decode import NotJson, decode

PAYLOAD = ("subtype", "data", "attachment", "content", "toolUseID")  # of a record that is no message


def copy_key(body: bytes) -> int | None:
    """A signed 64-bit number; None for what has no uuid. `body` is one record as it stands in the archive."""
    try:
        found, _ = decode(body.strip(b"\0"))
    except NotJson:
        return None
    return key_of(found)


def key_of(found: object) -> int | None:
    """The same, of a line that is decoded already."""
    if type(found) is not dict or type(found.get("uuid")) is not str:
        return None
    kind = found.get("type")
    payload = found.get("message") if kind in ("user", "assistant") else [*map(found.get, PAYLOAD)]
    text = orjson.dumps([found["uuid"], found.get("timestamp"), kind, payload])
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def digest(body: bytes) -> int:
    """A signed 64-bit number for the bytes themselves."""
    return int.from_bytes(blake2b(body, digest_size=8).digest(), "big", signed=True)
