"""`observatory export`: a conversation or a project to take along: its lines, Markdown, or a page."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import attrs
import click

from observatory.cli.forget import target_of
from observatory.cli.place import Where
from observatory.core.conversation import Conversation
from observatory.core.errors import StoreError, UsageError
from observatory.core.finding import number, size
from observatory.core.neutral import neutral
from observatory.core.redact import redact
from observatory.export.lines import REASONS, Copy, Gap
from observatory.export.markdown import markdown
from observatory.export.page import page
from observatory.storage.conversations import ConversationReader, File, conversations

Format = Literal["jsonl", "markdown", "html"]
FORMATS: tuple[Format, ...] = ("jsonl", "markdown", "html")
ENDINGS: dict[Format, str] = {"jsonl": "jsonl", "markdown": "md", "html": "html"}
STDOUT = "-"
SHOWN = 10  # places that are named one by one
CHUNK = 1024 * 1024


@attrs.frozen
class Options:
    """What the command line said."""

    what: str
    format: str
    out: str | None
    redact: bool
    agents: bool
    force: bool
    data_dir: Path | None


def run(options: Options) -> None:
    """Export it. Raises UsageError, StoreError."""
    format = next((format for format in FORMATS if format == options.format), None)
    if format is None:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, not '{neutral(options.format[:40])}'")
    directory = Where(data_dir=options.data_dir).directory()
    target = target_of(options.what, directory)
    with conversations(directory, redact if options.redact else None) as reader:
        ids = [target.id] if target.kind == "conversation" else reader.of_project(target.id)
        export = Export(reader, format, options.agents, options.force)
        if target.kind == "conversation":
            export.one(_row(reader, target.id), STDOUT if options.out is None else options.out)
        elif options.out in (None, STDOUT):
            raise UsageError("a project goes into a directory: name one with -o DIR")
        else:
            export.all([_row(reader, id) for id in ids], Path(str(options.out)))
    for notice in export.notices():
        click.echo(f"observatory: {notice}", err=True)


def _row(reader: ConversationReader, id: str) -> Conversation:
    row = reader.conversation(id)
    if row is None:
        raise StoreError(f"{neutral(id)} has just been forgotten")
    return row


@attrs.define
class Export:
    """Writes, and remembers what was not as it had been."""

    reader: ConversationReader
    format: Format
    agents: bool
    force: bool
    gaps: dict[str, list[Gap]] = attrs.field(factory=dict)  # by the source's path
    written: int = 0
    left_out: int = 0  # sub-agents, whose lines are in files of their own

    def one(self, row: Conversation, out: str) -> None:
        """A conversation: to a file, into a directory, or to standard output."""
        if out == STDOUT:
            for part in self._parts(row, self._main_file(row)):
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        elif Path(out).is_dir() or out.endswith(os.sep):
            self._into(row, Path(out))
        else:
            self._write(Path(out), self._parts(row, self._main_file(row)))
        if self.format == "jsonl" and self.agents and (out == STDOUT or not Path(out).is_dir()):
            self.left_out = len(list(self._below(row.id)))

    def all(self, rows: Iterable[Conversation], directory: Path) -> None:
        """A project's conversations into a directory."""
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"{directory} is a file; a project goes into a directory: name one with -o DIR")
        for row in rows:
            self._into(row, directory)

    def _into(self, row: Conversation, directory: Path) -> None:
        if self.format != "jsonl":
            self._write(directory / f"{_name(row.id)}.{ENDINGS[self.format]}", self._parts(row, None))
            return
        for file in self.reader.files(row.id):
            self._write(directory / f"{_name(row.id)}.jsonl", self._lines(file))
        for agent in self._below(row.id) if self.agents else ():
            for file in self.reader.files(agent):
                self._write(directory / _name(row.id) / "subagents" / _name(Path(file.path).name), self._lines(file))

    def _below(self, id: str) -> Iterator[str]:
        for agent in self.reader.agents(id):
            yield agent
            yield from self._below(agent)

    def _main_file(self, row: Conversation) -> File | None:
        files = self.reader.files(row.id)
        return files[-1] if files else None

    def _parts(self, row: Conversation, file: File | None) -> Iterator[bytes]:
        if self.format == "jsonl":
            if file is None:
                raise StoreError(f"no transcript of {neutral(row.id)} is in the archive")
            yield from self._lines(file)
            return
        project = self.reader.project(row.project_id)
        name = row.project_id if project is None else project.name
        make: Callable[..., Iterator[str]] = markdown if self.format == "markdown" else page
        for part in make(self.reader, row, name, agents=self.agents):
            yield part.encode("utf-8", "replace")

    def _lines(self, file: File) -> Iterator[bytes]:
        copy = Copy(file)
        yield from copy.pieces(self.reader.lines(file))
        if copy.gaps:
            self.gaps[file.path] = copy.gaps

    def _write(self, path: Path, parts: Iterable[bytes]) -> None:
        """Whole or not at all."""
        if path.exists() and not self.force:
            raise UsageError(f"{path} is there already; overwrite it with --force")
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", CHUNK) as file:
                    for part in parts:
                        file.write(part)
                new.replace(path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror})", "name another place with -o") from None
        self.written += 1

    def notices(self) -> Iterator[str]:
        """What is to be known of what was written."""
        if self.left_out:
            agents = number(self.left_out, "sub-agent")
            yield f"without {agents}, whose lines are in files of their own: export into a directory with -o DIR/"
        if self.written:
            yield f"wrote {number(self.written, 'file')}"
        for path, gaps in self.gaps.items():
            total = sum(gap.length for gap in gaps)
            yield f"{neutral(path)}: {size(total)} in {number(len(gaps), 'place')} are not as they were:"
            for gap in gaps[:SHOWN]:
                yield f"  {gap.length:,} bytes from {gap.offset:,} on {REASONS[gap.why]}"
            if len(gaps) > SHOWN:
                yield f"  … and {len(gaps) - SHOWN:,} more"


def _name(text: str) -> str:
    """A file's name, whatever an id is."""
    name = "".join([char if char.isalnum() or char in "-._" else "_" for char in text])[:200]
    return name if name.strip(".") else f"_{name}"
