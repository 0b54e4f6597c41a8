"""The shape of figures as JSON and CSV: see docs/stats.md."""

from collections.abc import Hashable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import attrs

from observatory.core.neutral import neutral
from observatory.core.pricing import PICO
from observatory.core.stats import Tally
from observatory.core.stats_blocks import Block
from observatory.core.stats_query import Group
from observatory.core.stats_tools import ToolTally

Shape = dict[str, Any]
_MICRO = Decimal("0.000001")
CSV_LEAVES_OUT = frozenset({"unpriced"})  # what is no single value
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so


@attrs.frozen
class Labels:
    """What ids are called. projects: names; places: (project id, title) by conversation."""

    projects: Mapping[str, str]
    places: Mapping[str, tuple[str, str | None]]

    def of(self, group: Group, key: Hashable) -> Shape:
        """A group's key as fields; null is what is not known."""
        match group:
            case "project":
                return self._project(str(key))
            case "branch":
                assert isinstance(key, tuple)
                return {"branch": key[0] or None, **self._project(key[1])}
            case "conversation":
                project, title = self.places.get(str(key), ("", None))
                return {"conversation_id": key, "title": title, **self._project(project)}
        return {group: key or None}

    def _project(self, project_id: str) -> Shape:
        return {"project": self.projects.get(project_id), "project_id": project_id or None}


def figures(tally: Tally) -> Shape:
    """Sums. `cost_usd` is of the messages that have a price, null when none has."""
    return {
        "messages": tally.messages,
        "conversations": len(tally.conversations),
        "input_tokens": tally.fresh,
        "output_tokens": tally.output,
        "cache_creation_input_tokens": tally.creation,
        "cache_creation_1h_input_tokens": tally.cache_1h,
        "cache_read_input_tokens": tally.cached,
        "web_search_requests": tally.searches,
        "cost_usd": dollars(tally.cost) if tally.priced else None,
        "unpriced_messages": sum(tally.unpriced.values()),
        "unpriced": dict(sorted(tally.unpriced.items())),
        "legacy_cost_usd": tally.legacy_usd,
        "legacy_messages": len(tally.legacy),
    }


def tool_figures(name: str | None, tool: ToolTally) -> Shape:
    """Of one tool, or of all together."""
    return {
        **({} if name is None else {"tool": name}),
        "calls": tool.calls,
        "errors": tool.errors,
        "orphaned": tool.orphaned,
        "pending": tool.pending,
        "timed_calls": len(tool.durations),
        "duration_p50_ms": tool.percentile(50),
        "duration_p95_ms": tool.percentile(95),
    }


def block_figures(block: Block, now: datetime) -> Shape:
    """Of one five-hour block."""
    rate, cost, ahead = block.tokens_per_minute(now), block.cost_per_hour(now), block.projected(now)
    return {
        "start": stamp(block.start),
        "end": stamp(block.end),
        "first": stamp(block.first),
        "last": stamp(block.last),
        "active": block.active(now),
        **figures(block.tally),
        "tokens": block.tally.tokens,
        "tokens_per_minute": None if rate is None else round(rate, 1),
        "cost_per_hour_usd": None if cost is None else dollars(round(cost)),
        "projected_tokens": None if ahead is None else ahead.tokens,
        "projected_cost_usd": None if ahead is None or ahead.cost is None else dollars(ahead.cost),
    }


def dollars(pico: int) -> float:
    """Pico-dollars as dollars, rounded to millionths."""
    return float((Decimal(pico) / PICO).quantize(_MICRO, ROUND_HALF_EVEN))


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with ms."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def csv_cell(value: object) -> object:
    """A field of a CSV file: null is empty, truth is a word, no text is a formula or commands a terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{neutral(value)}" if value.startswith(FORMULA) else neutral(value)
    return value
