"""Events as lines for people: a pure `line_of`, and a `Printer` that gives them colour and width.

Every text comes from transcripts, so from anywhere: it is neutralised here once, and handed to rich as plain spans,
never as markup. Whether there is colour at all is rich's decision (terminal, NO_COLOR, TERM).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any, TextIO

import attrs
from rich.console import Console
from rich.text import Text

from observatory.core.client_items import Event, Snapshot
from observatory.core.hook_events import WAITING_HOOKS
from observatory.core.neutral import neutral
from observatory.core.telling import HOOK, telling
from observatory.core.titles import FIELDS

TEXT_CHARS = 2000  # of one text in a pipe, where no width cuts it
SHORT_ID = 8
UNKNOWN_PLACE = "-"
STYLES = {"prompt": "bold cyan", "command": "cyan", "interruption": "bold yellow", "error": "bold red"}
QUIET = "dim"
NAMING = frozenset(FIELDS)  # such a record is told by the conversation_update that follows, if the title changes
STATUS_STYLES = {"ok": "green", "degraded": "yellow"}


@attrs.frozen
class Span:
    """Text in one style; harmless already."""

    style: str
    text: str


@attrs.frozen
class Rendered:
    """An event for people: when, where, and one row of spans for each thing that happened."""

    time: str
    place: str
    rows: tuple[tuple[Span, ...], ...]


def line_of(event: Event, projects: Mapping[str, str], zone: tzinfo | None = None) -> Rendered | None:
    """An event as lines, or None for what is not worth one.

    Args: projects: names by project id. zone: for the time; local if None.
    """
    data: dict[str, Any] = event.data if isinstance(event.data, dict) else {"data": event.data}
    rows = tuple(ROWS.get(event.type, _other_rows)(event.type, data))
    if not rows:
        return None
    when = "--:--:--" if event.timestamp is None else _clock(event.timestamp, zone)
    return Rendered(when, _place(event.type, data, projects), rows)


class PlainConsole(Console):
    """A console that takes texts as they are, and leaves it to the caller what a reader's going means."""

    def __init__(self, out: TextIO, width: int | None = None, *, colour: bool | None = None) -> None:
        """colour: whether there is any, where the stream does not tell."""
        super().__init__(file=out, width=width, highlight=False, markup=False, emoji=False, force_terminal=colour)

    def on_broken_pipe(self) -> None:
        """rich ends the process with 1; that somebody has seen enough is no failure."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise BrokenPipeError


@attrs.define(eq=False)
class Printer:
    """Prints events to a stream, shortened to the width on a terminal and whole in a pipe."""

    _console: Console
    _zone: tzinfo | None = None
    _projects: dict[str, str] = attrs.field(factory=dict, init=False)

    @classmethod
    def to(cls, out: TextIO) -> "Printer":
        return cls(PlainConsole(out))

    def learn(self, snapshot: Snapshot) -> None:
        """Take over the names of all projects."""
        for project in snapshot.projects:
            self._name(project)

    def print(self, event: Event) -> bool:
        """Print an event, if it is worth a line; returns whether it was."""
        if event.type == "project_update" and isinstance(event.data, dict):
            self._name(event.data)
        rendered = line_of(event, self._projects, self._zone)
        if rendered is None or not rendered.rows:
            return False
        for row in rendered.rows:
            self._row(rendered, row)
        return True

    def _row(self, rendered: Rendered, row: tuple[Span, ...]) -> None:
        text = Text.assemble((rendered.time, QUIET), " ", (rendered.place, "magenta"), " ")
        for span in row:
            text.append(span.text, span.style)
        if self._console.is_terminal:
            self._console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            self._console.print(text, soft_wrap=True)

    def _name(self, project: Mapping[str, Any]) -> None:
        if isinstance(key := project.get("id"), str) and isinstance(name := project.get("name"), str):
            self._projects[key] = name


def one_line(value: object, limit: int = TEXT_CHARS) -> str:
    """Any value as one harmless line: blanks run together, controls visible, cut at `limit` characters."""
    text = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    )
    line = neutral(" ".join(text[: limit * 2].split()))
    return line if len(line) <= limit and len(text) <= limit * 2 else line[: limit - 1] + "…"


def _message_rows(_type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    record, message = _dict(data.get("record")), _dict(data.get("message"))
    kind = str(record.get("kind", ""))
    if error := record.get("error"):
        yield Span(STYLES["error"], "broken line "), Span("red", one_line(error))
    for result in _dicts(message.get("tool_results")):
        yield _result_row(result)
    if (content := message.get("content") or record.get("text")) and record.get("type") not in NAMING:
        yield _text_row(kind if kind != "other" else str(record.get("type", kind)), one_line(content))
    for call in _dicts(message.get("tool_calls")):
        yield Span("yellow", f"→ {one_line(call.get('tool_name', '?'))} "), Span(QUIET, _input(call.get("tool_input")))


def _text_row(kind: str, text: str) -> tuple[Span, ...]:
    if kind == "assistant":
        return Span("bold green", "claude "), Span("", text)
    if kind in STYLES:
        return Span(STYLES[kind], f"{'user' if kind == 'prompt' else kind} "), Span(STYLES[kind], text)
    return Span(QUIET, f"{neutral(kind) or 'note'} "), Span(QUIET, text)


def _result_row(result: dict[str, Any]) -> tuple[Span, ...]:
    text = one_line(result.get("content", ""))
    if result.get("is_error") is True:
        return Span("bold red", "✗ error "), Span("red", text)
    return Span("green", "✓ ok "), Span(QUIET, text)


def _input(value: object) -> str:
    if isinstance(value, dict):
        told = telling(value)
        return one_line(value if told is None else told) if value else ""
    return "" if value is None else one_line(value)


def _conversation_rows(type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    title = data.get("title")
    if type == "conversation_started":
        yield Span(QUIET, "conversation started"), Span(QUIET, f": {one_line(title)}" if title else "")
    elif title:
        yield Span(QUIET, "title: "), Span(QUIET, one_line(title))


def _file_rows(type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    yield Span(QUIET, f"{type.replace('_', ' ')} "), Span(QUIET, one_line(data.get("file_path", "?")))


def _status_rows(_type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    status = one_line(data.get("service_status", "?"))
    ill = [part for part in _dicts(data.get("components")) if part.get("status") != "ok"]
    about = "; ".join(f"{part.get('component_name')}: {part.get('details') or part.get('status')}" for part in ill)
    yield Span(STATUS_STYLES.get(status, "bold red"), f"system {status} "), Span("", one_line(about))


def _forgotten_rows(type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    yield Span(QUIET, f"{type.replace('_', ' ')} "), Span(QUIET, one_line(data.get("id", "?")))


def _hook_rows(_type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    name, payload = one_line(data.get("hook_event_name", "?")), _dict(data.get("payload"))
    style = "bold yellow" if name in WAITING_HOOKS else QUIET
    yield Span(style, f"hook {name} "), Span("", one_line(telling(payload, HOOK) or ""))


def _no_rows(_type: str, _data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    return iter(())


def _other_rows(type: str, data: dict[str, Any]) -> Iterator[tuple[Span, ...]]:
    yield Span(QUIET, f"{one_line(type)} "), Span(QUIET, one_line(data))


ROWS: Mapping[str, Callable[[str, dict[str, Any]], Iterator[tuple[Span, ...]]]] = {
    "message_added": _message_rows,
    "conversation_started": _conversation_rows,
    "conversation_update": _conversation_rows,
    "conversation_forgotten": _forgotten_rows,
    "hook_event": _hook_rows,
    "project_update": _no_rows,  # it only teaches a name
    "project_forgotten": _forgotten_rows,
    "file_created": _file_rows,
    "file_modified": _file_rows,
    "file_deleted": _file_rows,
    "system_status": _status_rows,
}


def _place(type: str, data: dict[str, Any], projects: Mapping[str, str]) -> str:
    conversation = data.get("id") if type.startswith("conversation_") else data.get("conversation_id")
    project = data.get("project_id")
    parts = [_short_project(project, projects), _short_conversation(conversation)]
    return "/".join(part for part in parts if part) or UNKNOWN_PLACE


def _short_project(project: object, projects: Mapping[str, str]) -> str:
    return one_line(projects.get(project, project[:SHORT_ID]), 40) if isinstance(project, str) else ""


def _short_conversation(conversation: object) -> str:
    if not isinstance(conversation, str):
        return ""
    return neutral(".".join(part[:SHORT_ID] for part in conversation.split(".")[:3]))


def _clock(timestamp_ms: int, zone: tzinfo | None) -> str:
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, zone).strftime("%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
