"""`observatory search`: what was said and done in any session, from the archive, whether a server runs or not."""

import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TextIO

import attrs
import click
import orjson
from rich.padding import Padding
from rich.text import Text

from observatory.cli.indexing import bring_up_to_date
from observatory.cli.lookup import here, names_of
from observatory.cli.ls import local
from observatory.cli.place import Where
from observatory.cli.terminal import SHORT_ID, PlainConsole, one_line
from observatory.core.errors import UsageError
from observatory.core.finding import number
from observatory.core.naming import Names, conversation_of, project_of
from observatory.core.neutral import neutral, neutral_json
from observatory.core.search_page import MOST_HITS, SORTS, Hit, Page, Search, role_of
from observatory.storage.reader import at_rest
from observatory.storage.search import searching

ALL = 10_000_000  # conversations looked through for a name
INDENT = 4


@attrs.frozen
class Options:
    """What the command line said."""

    words: tuple[str, ...]
    project: str | None
    conversation: str | None
    roles: tuple[str, ...]
    tool: str | None
    model: str | None
    since: str | None
    until: str | None
    errors: bool
    sort: str
    exact: bool
    case: bool
    count: int
    cursor: str | None
    as_json: bool
    data_dir: Path | None


def run(options: Options) -> None:
    """Print what is found. Raises UsageError, StoreError."""
    directory = Where(data_dir=options.data_dir).directory()
    asked = _asked(options)
    if options.project is not None or options.conversation is not None:
        asked = _within(asked, options, directory)
    if (directory / "observatory.db").is_file():
        bring_up_to_date(directory)
    with searching(directory) as reader:
        page = reader.search(asked)
    if options.as_json:
        for hit in page.hits:
            print(neutral_json(orjson.dumps(hit.json()).decode()))
    else:
        write(page.hits, sys.stdout)
    for notice in notices(page, options):
        click.echo(f"observatory: {notice}", err=True)


def _asked(options: Options) -> Search:
    """But for names, which only the archive knows. Raises UsageError."""
    if options.count > MOST_HITS:
        raise UsageError(f"-n may be up to {MOST_HITS}; ask for the next page with --cursor")
    if options.case and not options.exact:
        raise UsageError("--case goes with --exact: words are found in upper and lower case")
    sort = next((sort for sort in SORTS if sort == options.sort), None)
    if sort is None:
        raise UsageError(f"--sort must be {' or '.join(SORTS)}, not '{options.sort}'")
    roles = 0
    for name in options.roles:
        roles |= role_of(name)
    return Search(
        " ".join(options.words), options.exact, options.case, roles=roles, tool=options.tool, model=options.model,
        since=_moment("--since", options.since, 0), until=_moment("--until", options.until, 1),
        errors=options.errors, sort=sort, limit=options.count, cursor=options.cursor,
    )  # fmt: skip


def _moment(option: str, text: str | None, days: int) -> int | None:
    """When a day as typed, or one so many days later, begins on this machine's clock: ms since the epoch."""
    if text is None:
        return None
    try:
        day = datetime.combine(date.fromisoformat(text) + timedelta(days), datetime.min.time())
        return round(day.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} must be a day such as 2026-11-24, not '{text}'") from None


def _within(asked: Search, options: Options, directory: Path) -> Search:
    kept = at_rest(directory, ALL)
    names = Names([], []) if kept is None else names_of(kept)
    project = None if options.project is None else project_of(options.project, names, here())
    conversation = None if options.conversation is None else conversation_of(options.conversation, names)
    return attrs.evolve(asked, project=project, conversation=conversation)


def write(hits: Sequence[Hit], out: TextIO, width: int | None = None) -> None:
    """Each hit in two lines: where and who; what. `width` is for tests."""
    console = PlainConsole(out, width)
    for hit in hits:
        if console.is_terminal:
            console.print(_where(hit), no_wrap=True, overflow="ellipsis", crop=True)
            console.print(Padding(_what(hit), (0, 0, 0, INDENT)))
        else:
            console.print(_where(hit), soft_wrap=True)
            console.print(Text(" " * INDENT) + _what(hit), soft_wrap=True)


def _where(hit: Hit) -> Text:
    short = ".".join(part[:SHORT_ID] for part in hit.conversation_id.split("."))
    line = Text()
    line.append(f"{'-' if hit.at is None else local(hit.at):<16}  ", "dim")
    line.append(f"{one_line(hit.project, 40)}/{one_line(short)}", "magenta")
    line.append(f"  {'+'.join(hit.roles)}", "cyan")
    if hit.tool is not None:
        line.append(f" {one_line(hit.tool, 40)}")
    if hit.is_error:
        line.append(" ✗ error", "bold red")
    line.append(f"  {hit.record}", "dim")
    if hit.title:
        line.append(f"  {one_line(hit.title)}", "dim")
    return line


def _what(hit: Hit) -> Text:
    """The snippet; what was found stands out on a terminal."""
    text, line, place = hit.snippet.text, Text(), 0
    for start, end in hit.snippet.marks:
        line.append(neutral(text[place:start]))
        line.append(neutral(text[start:end]), "bold yellow")
        place = end
    return line.append(neutral(text[place:]))


def notices(page: Page, options: Options) -> list[str]:
    """What is to be known beside the hits."""
    told = []
    if page.lag:
        told.append(f"{number(page.lag, 'record')} {'is' if page.lag == 1 else 'are'} not in the index yet")
    if page.sort != options.sort and not options.exact:
        told.append(f"{page.total - 1:,} hits and more: too many to rank, so the newest come first; add a word")
    if page.stopped:
        told.append(f"looked for long enough; go on with: --cursor {page.cursor}")
    elif page.cursor is not None:
        many = f"{page.total:,} hits in all" if page.is_exact else "there are more"
        told.append(f"{many}; the next page: --cursor {page.cursor}")
    if not page.hits and options.cursor is None and not page.stopped:
        told.append(f"nothing found; {_advice(options)}")
    return told


def _advice(options: Options) -> str:
    if any((options.project, options.conversation, options.roles, options.tool, options.model, options.since,
            options.until, options.errors)):  # fmt: skip
        return "ask with fewer filters"
    if options.exact:
        return "without --exact, words are found in any order"
    return (
        "words are found whole: try the beginning of one with * behind it, fewer words, or --exact for parts of words"
    )
