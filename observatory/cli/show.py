"""`observatory show`: one conversation, readable, in the user's pager; also beside a running server."""

import io
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import click
import orjson
from rich.padding import Padding
from rich.text import Text

from observatory.cli.ls import local
from observatory.cli.named import conversation_named
from observatory.cli.place import Where
from observatory.cli.terminal import PlainConsole, one_line
from observatory.core.batch import key_of_id
from observatory.core.errors import UsageError
from observatory.core.finding import number
from observatory.core.neutral import neutral, neutral_json
from observatory.core.timeline import Called, Entry, Noted, Picture, Said, Thought
from observatory.export.story import Agent, story
from observatory.export.words import MARKS, asked, is_error, outcome
from observatory.storage.conversations import ConversationReader, conversations

FOLDED_LINES = 12  # of a result or an input that are shown
BEFORE = 3  # entries shown before the one that was asked for
QUIET = ("note", "hook", "event")  # shown with --all


@attrs.frozen
class Options:
    """What the command line said."""

    what: str
    at: str | None
    everything: bool
    agents: bool
    no_pager: bool
    as_json: bool
    data_dir: Path | None


def run(options: Options) -> None:
    """Show it. Raises UsageError, StoreError."""
    directory = Where(data_dir=options.data_dir).directory()
    id = conversation_named(options.what, directory)
    if options.at is not None and key_of_id(options.at) is None:
        raise UsageError(f"'{neutral(options.at[:80])}' is no record's id, such as 12-0-48211; a search tells it")
    with conversations(directory) as reader:
        if options.as_json:
            for line in _json(reader, id):
                print(line)
        else:
            _show(reader, id, options)


def _show(reader: ConversationReader, id: str, options: Options) -> None:
    pages = Pages(options.everything, options.agents, PlainConsole(sys.stdout).width, colour=_has_colour())
    text = pages.text(reader, id, options.at)
    if options.no_pager or not sys.stdout.isatty():
        for part in text:
            sys.stdout.write(part)
    else:
        click.echo_via_pager(text)  # it knows whether the pager takes colours


def _has_colour() -> bool:
    console = PlainConsole(sys.stdout)
    return console.is_terminal and not console.no_color


def _json(reader: ConversationReader, id: str) -> Iterator[str]:
    """The records as they are in the archive, one a line, with their ids."""
    for stored in reader.records(id):
        record = {"record": stored.id, "line": stored.line, "flags": stored.flags, "error": stored.error,
                  "body": stored.body.decode("utf-8", "replace")}  # fmt: skip
        yield neutral_json(orjson.dumps(record).decode())


@attrs.define
class Pages:
    """Entries as text for a terminal of this width."""

    everything: bool
    agents: bool
    width: int
    colour: bool

    def text(self, reader: ConversationReader, id: str, at: str | None) -> Iterator[str]:
        """The whole of it, in parts. at: the record to begin at. Raises UsageError: it is none of these."""
        row = reader.conversation(id)
        assert row is not None, "its name was found"
        project = reader.project(row.project_id)
        head = Text(one_line(row.title or "untitled"), "bold")
        about = [
            row.id,
            project.name if project else row.project_id,
            local(row.created_at),
            f"{row.message_count} messages",
        ]
        yield self._print([head, Text("  ".join(map(one_line, about)), "dim"), Text()])
        entries: Iterable[Entry | Agent] = story(reader, id)
        yield from self._entries(reader, entries if at is None else _from(entries, at), 0, at)

    def _entries(
        self, reader: ConversationReader, entries: Iterable[Entry | Agent], depth: int, at: str | None
    ) -> Iterator[str]:
        for entry in entries:
            if isinstance(entry, Agent):
                yield from self._agent(reader, entry, depth)
            elif lines := list(self._lines(entry, marked=at is not None and entry.record == at)):
                yield self._print([*lines, Text()], depth)

    def _agent(self, reader: ConversationReader, agent: Agent, depth: int) -> Iterator[str]:
        row = agent.conversation
        told = f"⤷ sub-agent {one_line(row.id)}  {one_line(row.title or '')}  {number(row.message_count, 'message')}"
        yield self._print([Text(told, "magenta"), Text()], depth)
        if self.agents:
            yield from self._entries(reader, story(reader, row.id), depth + 1, None)

    def _lines(self, entry: Entry, *, marked: bool) -> Iterator[Text | Padding]:
        mark = "▶ " if marked else ""
        match entry:
            case Said(who=who, text=text):
                style = "bold cyan" if who == "user" else "bold green"
                yield self._head(f"{mark}{'you' if who == 'user' else 'claude'}", entry, style)
                yield Text(_lines_of(text))
            case Thought(text=text):
                if self.everything:
                    yield self._head(f"{mark}thinking", entry, "dim italic")
                    yield Text(_lines_of(text), "dim italic")
            case Called():
                yield from self._called(entry, mark)
            case Picture(media_type=kind):
                yield self._head(f"{mark}[{one_line(kind, 40)}]", entry, "dim")
            case Noted(what=what, text=text):
                if self.everything or what not in QUIET:
                    style = "bold red" if what in ("error", "malformed") else "yellow"
                    yield self._head(f"{mark}{MARKS[what]}", entry, style)
                    yield from self._folded(text, "")

    def _called(self, entry: Called, mark: str) -> Iterator[Text | Padding]:
        told, failed = asked(entry.call), is_error(entry.answer)
        line = Text(f"{mark}→ ", "dim") + Text(one_line(entry.call.name or "result", 60), "bold")
        if told.title:
            line.append(f" {one_line(told.title)}")
        if ended := outcome(entry.answer):
            line.append(f"  {ended}", "bold red" if failed else "dim")
        yield line
        if told.body and (told.kind == "diff" or self.everything):
            yield from self._folded(told.body, "  ", diff=told.kind == "diff")
        if entry.answer is not None and entry.answer.result is not None and entry.answer.result.content:
            yield from self._folded(entry.answer.result.content, "  ", "red" if failed else "dim")

    def _head(self, name: str, entry: Entry, style: str) -> Text:
        at = "" if entry.at is None else local(entry.at)
        return Text(name, style) + Text(f"  {at}  {entry.record}", "dim")

    def _folded(self, text: str, indent: str, style: str = "", *, diff: bool = False) -> Iterator[Padding]:
        """The first lines of a text, and how many more there are."""
        lines = text.rstrip("\n").split("\n")
        kept = lines if self.everything else lines[:FOLDED_LINES]
        shown = Text()
        for line in kept:
            colour = {"+": "green", "-": "red"}.get(line[:1], style) if diff else style
            shown.append(_lines_of(line) + "\n", colour)
        if len(kept) < len(lines):
            shown.append(f"… {len(lines) - len(kept):,} more lines\n", "dim italic")
        shown.rstrip()
        yield Padding(shown, (0, 0, 0, len(indent) + 2))

    def _print(self, lines: Iterable[Text | Padding], depth: int = 0) -> str:
        out = io.StringIO()
        console = PlainConsole(out, self.width, colour=self.colour)
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 2 * depth)) if depth else line)
        return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def _lines_of(text: str) -> str:
    """Harmless, with its own line breaks."""
    return "\n".join(neutral(line) for line in text.expandtabs(4).split("\n"))


def _from(entries: Iterable[Entry | Agent], at: str) -> Iterator[Entry | Agent]:
    """From a few entries before a record on. Raises UsageError: it is not there."""
    before: deque[Entry | Agent] = deque(maxlen=BEFORE)
    found = False
    for entry in entries:
        if not found and not isinstance(entry, Agent) and _has(entry, at):
            found = True
            yield from before
        if found:
            yield entry
        else:
            before.append(entry)
    if not found:
        raise UsageError(f"no entry of record {at} is in this conversation; observatory show without --at shows all")


def _has(entry: Entry, at: str) -> bool:
    return entry.record == at or (isinstance(entry, Called) and entry.answer is not None and entry.answer.record == at)
