"""Token counts: read from a line, and grown per API message.

One API message is several lines with differing counts. Right is the maximum per field over all lines of one
message id, summed over ids; live, each line contributes its growth over that maximum. Source: transcripts.md §5.
"""

from typing import Any

from observatory.core import detail
from observatory.core.detail import Detail
from observatory.core.frozen import frozen

MAX_COUNT = 2**53 - 1  # uint53 on the wire; a larger count is no count


@frozen
class Usage:
    """Tokens of one API message, or sums of them. `cache_creation` is written, `cache_read` served from the cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0

    def __bool__(self) -> bool:
        return bool(
            self.input_tokens or self.output_tokens or self.cache_read_input_tokens or self.cache_creation_input_tokens
        )


NONE = Usage()


_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_SPLIT = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_INT = frozenset({int})
_NOWHERE = (None, None, None, None)


def read(
    found: dict[str, Any], notes: list[str], line: tuple[str | None, str | None, str | None, float | None] = _NOWHERE
) -> tuple[Usage, Detail]:
    """The `usage` object of an API message. What is no count is 0, with an anomaly `usage.<field>`.

    line: time, model, git branch and `costUSD` of the line.
    """
    fresh, output, creation, cached = _counts(found, _COUNTS, notes)
    split, short, long = found.get("cache_creation"), 0, 0
    if type(split) is dict:
        short, long = _counts(split, _SPLIT, notes)
        creation = max(creation, short + long)
    elif split is not None:
        notes.append("usage.cache_creation")
    tools, searches = found.get("server_tool_use"), 0
    if type(tools) is dict:
        searches = _count(tools.get("web_search_requests"), "web_search_requests", notes)
    elif tools is not None:
        notes.append("usage.server_tool_use")
    about = detail.read(found, (short, long), searches, line, notes)
    return Usage(fresh, output, creation, cached), about


def grow(old: Usage | None, new: Usage) -> tuple[Usage, Usage]:
    """The running maximum of one message id after a line, and what the line adds to totals (no field below 0)."""
    if old is None:
        return new, new
    maximum = Usage(
        max(old.input_tokens, new.input_tokens),
        max(old.output_tokens, new.output_tokens),
        max(old.cache_creation_input_tokens, new.cache_creation_input_tokens),
        max(old.cache_read_input_tokens, new.cache_read_input_tokens),
    )
    return maximum, Usage(
        maximum.input_tokens - old.input_tokens,
        maximum.output_tokens - old.output_tokens,
        maximum.cache_creation_input_tokens - old.cache_creation_input_tokens,
        maximum.cache_read_input_tokens - old.cache_read_input_tokens,
    )


def add(one: Usage, other: Usage) -> Usage:
    """The sum, field by field."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_creation_input_tokens + other.cache_creation_input_tokens,
        one.cache_read_input_tokens + other.cache_read_input_tokens,
    )


def wire(usage: Usage) -> dict[str, int]:
    """`usage_delta` and `tokens` of protocol.md §6."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
    }


def _counts(found: dict[str, Any], keys: tuple[str, ...], notes: list[str]) -> list[int]:
    values: list[Any] = [*map(found.get, keys)]
    if _INT.issuperset(map(type, values)) and min(values) >= 0 and max(values) <= MAX_COUNT:
        return values
    return [_count(value, key, notes) for value, key in zip(values, keys, strict=True)]


def _count(value: object, key: str, notes: list[str]) -> int:
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if value is not None:
        notes.append(f"usage.{key}")
    return 0
