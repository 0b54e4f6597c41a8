"""`observatory resume`: the line that takes a conversation up again in Claude Code."""

import shlex
from pathlib import Path

import attrs
import click

from observatory.cli.named import conversation_named
from observatory.cli.place import Where
from observatory.core.conversation import Conversation
from observatory.core.errors import StoreError
from observatory.core.neutral import neutral
from observatory.storage.conversations import ConversationReader, conversations


@attrs.frozen
class Options:
    """What the command line said."""

    what: str
    data_dir: Path | None


def run(options: Options) -> None:
    """Print it. Raises UsageError, StoreError."""
    directory = Where(data_dir=options.data_dir).directory()
    id = conversation_named(options.what, directory)
    with conversations(directory) as reader:
        row = _main(reader, id)
        gone = all(not Path(file.path).exists() for file in reader.files(row.id))
    if row.cwd is None:
        raise StoreError(
            "its transcript does not tell the directory that it was in", f"claude --resume {row.session_id}"
        )
    if neutral(row.cwd) != row.cwd:
        raise StoreError(
            f"its directory has a name that could command a terminal: {neutral(row.cwd)}", "go there by hand"
        )
    click.echo(line(row.cwd, row.session_id))
    if not Path(row.cwd).is_dir():
        _note(f"the directory {row.cwd} is gone: make it again first")
    if gone:
        how = f"observatory export {row.id} --format jsonl -o FILE.jsonl"
        _note(f"its transcript is gone, so that Claude Code does not find it; put it back with: {how}")


def line(cwd: str, session_id: str) -> str:
    """For a shell, whatever the names are."""
    return f"cd -- {shlex.quote(cwd)} && claude --resume {shlex.quote(session_id)}"


def _main(reader: ConversationReader, id: str) -> Conversation:
    """The conversation itself, or the one that a sub-agent belongs to."""
    row = reader.conversation(id)
    while row is not None and row.agent_id is not None:
        above = None if row.parent_id is None else reader.conversation(row.parent_id)
        if above is None:
            raise StoreError(f"{id} is a sub-agent, and its conversation is not in the archive")
        row = above
    assert row is not None, "its name was found"
    return row


def _note(text: str) -> None:
    click.echo(f"observatory: {neutral(text)}", err=True)
