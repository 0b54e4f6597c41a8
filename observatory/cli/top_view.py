"""One frame of `observatory top`: what is known, as lines that fit the terminal. Every text is made harmless here."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from observatory.cli.terminal import one_line
from observatory.core.top_state import SORTS, Row, Sort, TopState

STYLES = {"working": "bold blue", "waiting": "bold yellow", "error": "bold red", "idle": "dim", "completed": "dim"}
MARKS = {"working": "●", "waiting": "◆", "error": "✗", "idle": "○", "completed": "·"}
BARS = " ▁▂▃▄▅▆▇█"
HOPS = {"detected_to_read": "read", "read_to_committed": "commit", "committed_to_routed": "route",
        "routed_to_written": "write", "detected_to_written": "in all"}  # fmt: skip
HELP = (
    "s  sort by activity, tokens, messages, name      a  sub-agents        i  idle sessions",
    "j k ↑ ↓  select      Enter  last lines of it     c  clients           l  latency",
    "q  leave",
)
NARROW, WIDE = 76, 110


@attrs.define
class View:
    """What the person at the keys has chosen."""

    sort: Sort = "activity"
    agents: bool = False
    idle: bool = False
    clients: bool = False
    latency: bool = True
    help: bool = False
    selected: str | None = None
    opened: bool = False

    def press(self, key: str, rows: list[Row]) -> bool:
        """What a key does; False: leave."""
        match key:
            case "q" | "escape" | "interrupt":
                if not self.opened or key != "escape":
                    return False
                self.opened = False
            case "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case "a":
                self.agents = not self.agents
            case "i":
                self.idle = not self.idle
            case "c":
                self.clients = not self.clients
            case "l":
                self.latency = not self.latency
            case "?" | "h":
                self.help = not self.help
            case "enter":
                self.opened = not self.opened and self.selected is not None
            case "j" | "down" | "k" | "up":
                self._move(1 if key in ("j", "down") else -1, rows)
        return True

    def _move(self, by: int, rows: list[Row]) -> None:
        ids = [row.id for row in rows]
        if not ids:
            return
        at = ids.index(self.selected) + by if self.selected in ids else (0 if by > 0 else len(ids) - 1)
        self.selected = ids[max(0, min(len(ids) - 1, at))]


@attrs.frozen
class Link:
    """How the connection is. trouble: None while what is shown is live."""

    url: str
    trouble: str | None = None
    status: Mapping[str, Any] | None = None


def frame(state: TopState, view: View, link: Link, now_ms: int, width: int, height: int) -> list[Text]:
    """The lines of a frame, none wider than `width`, and no more than `height` of them."""
    rows = state.rows(now_ms, view.sort, agents=view.agents, idle=view.idle)
    head = [*_head(state, link, now_ms, width), Text()]
    foot = [*_panels(state, view, link, width), _hint(width)]
    room = max(1, height - len(head) - len(foot) - 1)
    body = [_titles(width), *_shown(rows, view, room, width)]
    if not rows:
        body.append(Text("  nothing is going on; i shows what is over", "dim"))
    body += [Text()] * (height - len(head) - len(body) - len(foot))
    return [_cut(line, width) for line in [*head, *body, *foot]][:height]


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _head(state: TopState, link: Link, now_ms: int, width: int) -> Iterator[Text]:
    status = link.status or {}
    line = Text("observatory ", "bold")
    if link.trouble is None:
        line.append("live", "bold green")
    else:
        line.append(one_line(link.trouble), "bold red")
    line.append(f"  {one_line(link.url)}", "dim")
    if status:
        position = status["position"]
        told = f"{one_line(status['version'])}, up {age(status['uptime_seconds'])}, event {position['head']:,}"
        line.append(f"  {told}", "dim")
    yield line
    ill = [part for part in status.get("components", ()) if part.get("status") != "ok"]
    for part in ill[:2]:
        trouble = (part["status"], part["component_name"], part["details"])
        yield Text(": ".join(map(one_line, trouble)), "red")
    bars = state.events.bars(now_ms)
    told = f"{sum(bars) / 60:6.1f} events/s  {amount(state.tokens.total(now_ms))} tokens/min  "
    gauges, modes = status.get("gauges", {}), status.get("clients", {})
    clients = f"{sum(modes.values())} clients" if modes else ""
    if lag := gauges.get("client_lag_events"):
        clients += f", {lag:,} events behind"
    yield Text(told) + Text(spark(bars[-min(60, max(8, width - 75)) :]), "blue") + Text(f"  {clients}", "dim")


def spark(values: list[float]) -> str:
    """Values as a row of bars."""
    most = max(values, default=0.0) or 1.0
    return "".join(BARS[0] if not value else BARS[max(1, round(value / most * (len(BARS) - 1)))] for value in values)


def _titles(width: int) -> Text:
    return Text(_columns("", "project", "session", "now", "age", "msgs", "tok/min", "tokens", width), "underline dim")


def _columns(
    mark: str, project: str, title: str, now: str, age_: str, messages: str, rate: str, tokens: str, width: int
) -> str:
    """One row of the table; what there is no room for is left out, and `now` gets what is left."""
    parts = [set_cell_size(mark, 1), set_cell_size(project, 12)]
    numbers = [age_.rjust(5), *([messages.rjust(5)] if width >= NARROW else []), rate.rjust(7),
               *([tokens.rjust(7)] if width >= WIDE else [])]  # fmt: skip
    left = width - sum(map(cell_len, parts)) - sum(map(len, numbers)) - len(parts) - len(numbers) - 1
    for_title = min(30, max(10, left // 3))
    parts += [set_cell_size(title, for_title), set_cell_size(now, max(0, left - for_title - 1))]
    return " ".join([*parts, *numbers])


def _shown(rows: list[Row], view: View, room: int, width: int) -> Iterator[Text]:
    """The rows around the selected one."""
    at = next((number for number, row in enumerate(rows) if row.id == view.selected), 0)
    start = max(0, min(at - room // 2, len(rows) - room))
    for row in rows[start : start + room]:
        indent = "└ " * row.depth
        agents = f" +{row.agents}" if row.agents else ""
        text = _columns(
            MARKS.get(row.shown, "○"), one_line(row.project), indent + one_line(row.title or row.id) + agents,
            one_line(row.now), age(row.age_seconds), f"{row.messages:,}", amount(row.tokens_per_min) if
            row.tokens_per_min else "", amount(row.tokens), width,
        )  # fmt: skip
        line = Text(text)
        style = STYLES.get(row.shown, "")
        line.stylize(style if row.shown in ("waiting", "error", "idle", "completed") else "", 0)
        line.stylize(style, 0, 1)
        if row.id == view.selected:
            line.stylize("reverse")
        yield line


def _panels(state: TopState, view: View, link: Link, width: int) -> Iterator[Text]:
    session = state.sessions.get(view.selected or "")
    if view.opened and session is not None:
        yield Text(f"── {one_line(session.title or session.id)} ", "bold")
        last = list(session.lines)[-8:] or ["nothing came since top began"]
        yield from (Text(f"  {one_line(line)}") for line in last)
    status = link.status or {}
    if view.latency and any(hop["count"] for hop in status.get("latency", {}).values()):
        parts = [f"{HOPS[name]} {_ms(hop['p50'])}/{_ms(hop['p99'])}" for name, hop in status["latency"].items()
                 if name in HOPS]  # fmt: skip
        yield Text("ms p50/p99  " + "   ".join(parts), "dim")
    if view.clients:
        yield from (Text(_client(one), "dim") for one in status.get("client_list", ())[:8])
    if view.help:
        yield from (Text(line) for line in HELP)


def _client(one: Mapping[str, Any]) -> str:
    topics = ", ".join(map(one_line, one["topics"]))
    return (
        f"  {one_line(one['id']):<6} {one_line(one['state']):<7} {one['lag_events']:>8,} behind"
        f" {one['outbox_bytes']:>9,} B waiting {one['sent']:>10,} sent  {topics}"
    )


def _hint(width: int) -> Text:
    return Text("? help  s sort  a agents  i idle  c clients  Enter lines  q leave"[:width], "dim")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}" if seconds < 0.1 else f"{seconds * 1000:.0f}"


def age(seconds: float) -> str:
    """How long, in a few characters."""
    for unit, size in (("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)):
        if seconds < size * (100 if unit != "d" else 1e9):
            return f"{seconds / size:.0f}{unit}"
    return "?"


def amount(number: float) -> str:
    """A count, in a few characters."""
    for unit, size in (("", 1), ("k", 1e3), ("M", 1e6)):
        if number < size * 1000:
            return f"{number / size:.0f}{unit}" if number >= size * 10 or unit == "" else f"{number / size:.1f}{unit}"
    return f"{number / 1e9:.1f}G"
