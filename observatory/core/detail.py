"""Detail: what is known of an API message besides its four counts: when, where, by which model, at which tier.

Kept apart from `Usage`, which every line with counts adds and compares; the Detail of a message is replaced only when a
line tells something new. Source: transcripts.md §3, §5.
"""

from typing import Any

from observatory.core.blocks import text_fields
from observatory.core.frozen import frozen
from observatory.core.instants import with_ms

_TEXTS = ("service_tier", "speed", "inference_geo")


@frozen
class Detail:
    """Of one API message in one conversation.

    at:          the earliest time of its lines, RFC 3339 with ms; branch: git's, on that line.
    service_tier, speed, geo: as the API reports them; geo is `inference_geo`.
    cache_5m, cache_1h: written to the cache for 5 minutes and for an hour, as far as the lines split their count.
    cost_usd:    what old versions of Claude Code wrote as `costUSD`; kept apart from any price of ours.
    """

    at: str | None = None
    model: str | None = None
    branch: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    geo: str | None = None
    cache_5m: int = 0
    cache_1h: int = 0
    web_searches: int = 0
    cost_usd: float | None = None


UNKNOWN = Detail()


def read(
    found: dict[str, Any],
    split: tuple[int, int],
    searches: int,
    line: tuple[str | None, str | None, str | None, float | None],
    notes: list[str],
) -> Detail:
    """The detail of a line.

    Args: found: its `usage`. split: cache writes for 5 minutes and an hour. line: time, model, branch, `costUSD`.
    """
    tier, speed, geo = text_fields(found, _TEXTS, notes, "usage.")
    at, model, branch, cost = line
    return Detail(with_ms(at) if at else None, model, branch, tier, speed, geo, *split, searches, cost)


def legacy_cost(found: dict[str, Any], notes: list[str]) -> float | None:
    """`costUSD` of a line; what is no amount is absent, with an anomaly."""
    cost = found.get("costUSD")
    if cost is None:
        return None
    if type(cost) in (int, float) and 0 <= cost < 1e9:
        return float(cost)
    notes.append("costUSD")
    return None


def merge(old: Detail, new: Detail) -> Detail:
    """Two details of one message: maxima, the earliest time with its branch, and of the rest what the earlier one says.

    `old` itself if `new` tells nothing new: most lines do not.
    """
    if _tells_nothing(old, new):
        return old
    if old is UNKNOWN:
        return new
    later = new.at is None or (old.at is not None and old.at <= new.at)
    first, second = (old, new) if later else (new, old)
    merged = Detail(
        first.at,
        first.model or second.model,
        first.branch or second.branch,
        first.service_tier or second.service_tier,
        first.speed or second.speed,
        first.geo or second.geo,
        max(old.cache_5m, new.cache_5m),
        max(old.cache_1h, new.cache_1h),
        max(old.web_searches, new.web_searches),
        _most(old.cost_usd, new.cost_usd),
    )
    return old if merged == old else merged


def _tells_nothing(old: Detail, new: Detail) -> bool:
    return (
        (new.at is None or (old.at is not None and old.at <= new.at))
        and old.model == new.model
        and old.branch == new.branch
        and old.service_tier == new.service_tier
        and old.speed == new.speed
        and old.geo == new.geo
        and new.cache_5m <= old.cache_5m
        and new.cache_1h <= old.cache_1h
        and new.web_searches <= old.web_searches
        and old.cost_usd == new.cost_usd
    )


def _most(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
