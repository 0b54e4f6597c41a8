"""A conversation of any length, line by line."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.ingest.stage import line

START = datetime(2026, 11, 1, tzinfo=UTC)


def lines(count: int, id: str, text: str = "text {} of **many**, with `code`", *, first: int = 0) -> Iterator[bytes]:
    """Prompts and answers by turns, a second apart."""
    for at in range(first, first + count):
        message = {"role": "assistant" if at % 2 else "user", "content": text.format(at), "id": f"m{at}", "model": "m"}
        stamp = (START + timedelta(seconds=at)).isoformat().replace("+00:00", ".000Z")
        yield line(type=message["role"], uuid=f"{id}{at}", sessionId=id, cwd=f"/{id}", timestamp=stamp, message=message)
