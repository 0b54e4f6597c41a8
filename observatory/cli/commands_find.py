"""The commands that find and show what was said: their options."""

from pathlib import Path
from typing import Any

import click

from observatory.cli.command import one_line_errors


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, metavar="QUERY...")
@click.option("--project", metavar="NAME|.", help="Only this project; . is the one of this directory.")
@click.option(
    "--conversation", metavar="ID", help="Only this conversation and its sub-agents; the first 6 characters do."
)
@click.option("--role", "roles", multiple=True, metavar="ROLE",
              help="user, assistant, thinking, tool_use, tool_result or other; repeatable.")  # fmt: skip
@click.option("--tool", metavar="NAME", help="Only calls and results of this tool, such as Bash.")
@click.option("--model", metavar="NAME", help="Only what this model wrote.")
@click.option("--since", metavar="DATE", help="From this day on, such as 2026-11-24.")
@click.option("--until", metavar="DATE", help="Up to this day, and with it.")
@click.option("--errors", is_flag=True, help="Only errors, of tools and of the API.")
@click.option("--sort", default="relevance", metavar="relevance|newest", help="What comes first.  [default: relevance]")
@click.option("--exact", is_flag=True, help="The text as it stands, signs and parts of words too; newest first.")
@click.option("--case", is_flag=True, help="With --exact: tell upper from lower case.")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, metavar="N", help="Hits on a page.  [default: 20]")
@click.option("--cursor", metavar="TEXT", help="The next page; the last one says how.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def search(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Find what was said and done, in all sessions; also while a server runs.

    QUERY: words that all have to be there; "two words" in quotes (within the shell's) the one behind the other;
    -word not there (after -- if it looks like an option); one OR other; word* how it begins. snake_case, a.b.c and
    paths are found as they stand.
    """
    from observatory.cli.search import Options, run

    run(Options(**options))


@click.command()
@click.argument("what", metavar="CONVERSATION")
@click.option("--at", metavar="RECORD", help="Begin at this record; a search tells its id.")
@click.option("--all", "everything", is_flag=True, help="Thinking, notes and whole results too.")
@click.option("--agents", is_flag=True, help="What its sub-agents did, behind the calls that started them.")
@click.option("--no-pager", is_flag=True, help="Print it, also on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Its records as they are in the archive, one a line.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def show(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Read a conversation: by its id, or its first 6 characters or more; also while a server runs."""
    from observatory.cli.show import Options, run

    run(Options(**options))


@click.command()
@click.argument("what", metavar="CONVERSATION")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def resume(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Print the line that takes a conversation up again in Claude Code: cd … && claude --resume …"""
    from observatory.cli.resume import Options, run

    run(Options(**options))


@click.command()
@click.argument("what", metavar="CONVERSATION|PROJECT")
@click.option("--format", default="jsonl", metavar="FORMAT", help="jsonl, markdown or html.  [default: jsonl]")
@click.option("-o", "out", metavar="FILE|DIR", help="Where to.  [default: - for standard output]")
@click.option("--redact", is_flag=True, help="Replace well-known keys and tokens.")
@click.option("--agents/--no-agents", default=True, help="With its sub-agents, or without.  [default: with]")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def export(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Take a conversation or a project along: its lines as they were, Markdown, or a page that needs nothing else."""
    from observatory.cli.export import Options, run

    run(Options(**options))


@click.command()
@click.argument("what", required=False, metavar="[CONVERSATION]")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; repeatable.")
@click.option("--star/--unstar", "star", default=None, help="Give it a star, or take it away.")
@click.option("--note", metavar="TEXT", help="A note on it; an empty one takes it away.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def tag(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Tag a conversation, star it, or note something on it; also while a server runs.

    Without changes it prints what is said of it; without a conversation, all tags there are.
    """
    from observatory.cli.tag import Options, run

    run(Options(**options))
