"""`observatory ls`: the projects and sessions that are known, from the running server or else from what it kept."""

import sys
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Literal, TextIO

import attrs
import orjson
import trio
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from observatory.cli.lookup import here, names_of, snapshot
from observatory.cli.place import Where
from observatory.cli.terminal import SHORT_ID, PlainConsole, one_line
from observatory.core.errors import Unreachable, UsageError
from observatory.core.naming import project_of
from observatory.core.neutral import neutral_json
from observatory.core.requests import SNAPSHOT_LIMIT
from observatory.storage.reader import at_rest

What = Literal["projects", "sessions"]
GAP = "  "
STATUS_STYLES = {"error": "bold red", "waiting": "yellow", "working": "green"}


@attrs.frozen
class Options:
    """What the command line said."""

    what: What
    project: str | None
    count: int | None
    agents: bool
    starred: bool
    tags: tuple[str, ...]
    as_json: bool


@attrs.frozen
class Cell:
    """One field. `short` is shown on a terminal instead of `text`, where width is dear."""

    text: str
    style: str = ""
    short: str | None = None


def run(options: Options, where: Where) -> None:
    """Print the list. Raises UsageError, WorldError."""
    data = _known(where)
    rows = chosen(options, data)
    if options.as_json:
        for row in rows:
            print(neutral_json(orjson.dumps(row).decode()))
    elif rows:
        write(_table(options.what, rows, data["projects"]), sys.stdout)
    for notice in _notices(options, rows, data):
        print(f"observatory: {notice}", file=sys.stderr)


def _known(where: Where) -> dict[str, Any]:
    """A snapshot of the server, or what its data directory holds. Raises Unreachable: there is neither."""
    found = where.find()
    if found is not None:
        return trio.run(snapshot, found)
    directory = where.directory()
    kept = at_rest(directory, SNAPSHOT_LIMIT)
    if kept is None:
        what = f"no server runs on {directory}, and none has kept anything there"
        raise Unreachable(what, "start one with: observatory serve")
    return kept


def chosen(options: Options, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows asked for, newest first. Raises UsageError: there is no such project."""
    projects = options.what == "projects"
    if projects and (options.starred or options.tags):
        raise UsageError("stars and tags are of sessions: observatory ls sessions --starred")
    rows = data["projects"] if projects else data["conversations"]
    if not projects and not options.agents:
        rows = [row for row in rows if row.get("agent_id") is None]
    if options.project is not None:
        wanted = project_of(options.project, names_of(data), here())
        rows = [row for row in rows if row["id" if projects else "project_id"] == wanted]
    wanted_tags = {tag.casefold() for tag in options.tags}
    rows = [row for row in rows if row.get("starred") or not options.starred]
    rows = [row for row in rows if wanted_tags <= {tag.casefold() for tag in row.get("tags", ())}]
    return list(rows[: options.count])


def _notices(options: Options, rows: Sequence[object], data: dict[str, Any]) -> list[str]:
    if not rows and (options.starred or options.tags):
        return ["no session has these marks: observatory tag lists what there is"]
    if not rows and not (options.project and options.what == "sessions"):
        return [f"no {options.what} yet: they appear as soon as Claude Code has written a transcript"]
    if options.what == "sessions" and data["truncated"] and len(rows) != options.count:
        return [f"only the newest {len(data['conversations']):,} conversations were looked at; there are more"]
    return []


def _table(what: What, rows: Sequence[dict[str, Any]], projects: Sequence[dict[str, Any]]) -> list[list[Cell]]:
    if what == "projects":
        return [_head("NAME", "ID", "CONVERSATIONS", "LAST ACTIVITY", "PATH"), *map(project_cells, rows)]
    names = {project["id"]: project["name"] for project in projects}
    head = _head("UPDATED", "PROJECT", "ID", "STATUS", "MESSAGES", "TITLE")
    return [head, *(session_cells(row, names) for row in rows)]


def _head(*names: str) -> list[Cell]:
    return [Cell(name, "dim") for name in names]


def project_cells(row: dict[str, Any]) -> list[Cell]:
    """A project in one row."""
    return [
        Cell(one_line(row["name"], 40), "magenta"),
        Cell(one_line(row["id"])),
        Cell(str(row.get("conversation_count", 0))),
        Cell(local(row["last_activity"]), "dim"),
        Cell(one_line(row["path"])),
    ]


def session_cells(row: dict[str, Any], projects: dict[str, str]) -> list[Cell]:
    """A conversation in one row."""
    status = row.get("status", "active")
    shown = str(status if status != "active" else row.get("activity", status))
    return [
        Cell(local(row["updated_at"]), "dim"),
        Cell(one_line(projects.get(row["project_id"], row["project_id"]), 40), "magenta"),
        Cell(one_line(row["id"]), short=one_line(".".join(part[:SHORT_ID] for part in row["id"].split(".")))),
        Cell(one_line(shown), STATUS_STYLES.get(shown, "")),
        Cell(str(row["message_count"])),
        Cell(f"{_marks(row)}{one_line(row.get('title') or '-')}"),
    ]


def _marks(row: dict[str, Any]) -> str:
    """Its star and tags."""
    tags = "".join([f"[{one_line(tag)}] " for tag in row.get("tags", ())])
    return f"{'★ ' if row.get('starred') else ''}{tags}"


def local(stamp: str, zone: tzinfo | None = None) -> str:
    """An RFC 3339 time as this machine's clock shows it."""
    return datetime.fromisoformat(stamp).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def write(table: Sequence[Sequence[Cell]], out: TextIO, width: int | None = None) -> None:
    """Aligned columns: of the terminal's width on one, whole anywhere else. `width` is for tests."""
    console = PlainConsole(out, width)
    short = console.is_terminal
    texts = [[cell.short if short and cell.short else cell.text for cell in row] for row in table]
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)][:-1]  # the last takes what is left
    for row, shown in zip(table, texts, strict=True):
        padded = [*map(set_cell_size, shown[:-1], widths), shown[-1]]
        line = Text(GAP).join(Text(text, cell.style) for cell, text in zip(row, padded, strict=True))
        if short:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            console.print(line, soft_wrap=True)
