"""`observatory`: the commands and their options. What a command needs is imported when it runs: --help stays fast."""

import sys
from pathlib import Path
from typing import Any

import click

from observatory import __version__
from observatory.cli.command import EXIT_FAILURE, OneLineGroup, one_line_errors, which_server
from observatory.cli.commands_copy import supabase
from observatory.cli.commands_find import export, resume, search, show, tag
from observatory.cli.commands_keep import backup, notify, prune, restore
from observatory.cli.commands_live import hooks, top


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="observatory")
def main() -> None:
    """Live observability for Claude Code: every record, to every subscriber, once, in order."""


@main.command()
@click.option("--root", "roots", multiple=True, metavar="DIR",
              help="A Claude config directory, or its projects/ directory; repeatable.")  # fmt: skip
@click.option("--host", help="Address to listen on; others than loopback need --auth token.  [default: 127.0.0.1]")
@click.option("--port", help="Port to listen on; 0 takes a free one.  [default: 8765]")
@click.option("--data-dir", metavar="DIR", help="Where the log and the archive are kept.")
@click.option("--log-format", metavar="json|console", help="Default: console on a terminal, else json.")
@click.option("--watcher", metavar="auto|inotify|watchfiles|poll", help="How files are watched.  [default: auto]")
@click.option("--allow-origin", "allow_origins", multiple=True, metavar="ORIGIN",
              help="A web page of this origin may connect, for example http://localhost:5173; repeatable.")  # fmt: skip
@click.option(
    "--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="One more name a Host header may carry."
)
@click.option("--exclude", multiple=True, metavar="PATTERN",
              help="Never read files that fit: a path, folder or working directory; repeatable.")  # fmt: skip
@click.option("--redact", is_flag=True, default=None, help="Replace well-known keys and tokens in what clients get.")
@click.option("--redact-stored", is_flag=True, default=None, help="Replace them before anything is stored, too.")
@click.option("--auth", metavar="none|token",
              help="none: your own processes may connect; token: whoever has the token.  [default: none]")  # fmt: skip
@click.option("--token-file", metavar="FILE", help="Where the token is.  [default: token in the data directory]")
@click.option("--tls-cert", metavar="FILE", help="Certificate (PEM, with its chain) to serve over TLS.")
@click.option("--tls-key", metavar="FILE", help="Its private key (PEM), if not in the same file.")
@click.option("--trusted-proxy", "trusted_proxies", multiple=True, metavar="ADDRESS",
              help="A proxy, or a network of them, whose X-Forwarded headers count; repeatable.")  # fmt: skip
@click.option("--public-url", metavar="URL", help="Address under which a proxy shows the server, with its path.")
@click.option("--max-clients", metavar="N", help="Clients at a time.  [default: 10000]")
@click.option("--event-retention", metavar="BOUNDS",
              help="What can be replayed: an age, a count, a size, or several.  [default: 7d,1m,1GiB]")  # fmt: skip
@click.option("--record-retention", metavar="AGE|off",
              help="Remove records of conversations quiet for so long, such as 180d.  [default: off]")  # fmt: skip
@click.option("--completed-after", metavar="SECONDS",
              help="Idle time after which a conversation counts as completed.  [default: 1800]")  # fmt: skip
@click.option("--open", is_flag=True, default=None, help="Show the dashboard in your browser.")
@one_line_errors
def serve(**flags: Any) -> None:  # noqa: ANN401 - the options above
    """Follow the transcripts and push each new record to every subscriber."""
    from observatory.cli.serve import run

    run({name: value for name, value in flags.items() if value not in (None, ())})


@main.command("import")
@click.option("--root", "roots", multiple=True, metavar="DIR",
              help="A Claude config directory, or its projects/ directory; repeatable.")  # fmt: skip
@click.option("--data-dir", metavar="DIR", help="Where the log and the archive are kept.")
@click.option("--log-format", metavar="json|console", help="Default: console on a terminal, else json.")
@click.option("--exclude", multiple=True, metavar="PATTERN",
              help="Never read files that fit: a path, folder or working directory; repeatable.")  # fmt: skip
@click.option("--redact-stored", is_flag=True, default=None, help="Replace well-known keys before anything is stored.")
@one_line_errors
def import_(**flags: Any) -> None:  # noqa: ANN401 - the options above
    """Take in all transcripts there are, newest first, and end; also while a server runs. Goes on where it stopped."""
    from observatory.cli.importing import run

    sys.exit(run({name: value for name, value in flags.items() if value not in (None, ())}))


@main.command()
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
@click.option("--since", type=click.IntRange(min=0), metavar="SEQ", help="Begin after this event of the log.")
@click.option("--where", multiple=True, metavar="KEY=VALUE|KEY!=VALUE|JSON",
              help="Only events of which this is true; * in VALUE stands for anything but /, ** for that too. All, if "
                   "repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as on the wire.")
@click.option("--bell", is_flag=True, help="Ring when a session has finished, waits for you, or met an error.")
@which_server
@one_line_errors
def tail(topics: tuple[str, ...], place: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
    """Print records as they arrive.

    TOPIC: a project's name, . for the project of this directory, a conversation's id or its first 6 characters or more;
    or all_conversations (default), project:ID, conversation:ID, project_updates, file_events, system.
    """
    import trio

    from observatory.cli.place import Where
    from observatory.cli.tail import run
    from observatory.core.where_text import where_of

    where = where_of(options["where"])  # a mistake in it is told whether a server runs or not
    trio.run(run, Where(**place).server(), topics, options["count"], options["since"], options["as_json"], where,
             options["bell"])  # fmt: skip


@main.command()
@click.argument("what", type=click.Choice(["projects", "sessions"]), default="projects", metavar="[projects|sessions]")
@click.option("--project", metavar="NAME|.", help="Only this project; . is the one of this directory.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="The newest N.")
@click.option("--agents", is_flag=True, help="Sub-agents among the sessions.")
@click.option("--starred", is_flag=True, help="Only sessions with a star.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only sessions with this tag; with all, if repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as in a snapshot.")
@which_server
@one_line_errors
def ls(place: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - the options above
    """List projects or sessions, newest first; also while no server runs."""
    from observatory.cli.ls import Options, run
    from observatory.cli.place import Where

    run(Options(**options), Where(**place))


@main.command()
@click.argument("group", default="day", metavar="[GROUP]")
@click.option("--since", metavar="DATE", help="From this day on, such as 2026-11-24.")
@click.option("--until", metavar="DATE", help="Up to this day, and with it.")
@click.option("--project", metavar="NAME|.", help="Only this project; . is the one of this directory.")
@click.option(
    "--timezone", metavar="ZONE", help="Whose days they are, such as Europe/Berlin.  [default: this machine's]"
)
@click.option("--budget", type=click.FloatRange(min=0), metavar="USD",
              help="What a day, week or month may cost: tells what costs more, or is about to.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV, with a header.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def stats(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Tokens, cost and tools, by GROUP; also while a server runs, and while none does.

    GROUP: day (default), week, month, project, model, branch, conversation; tool: calls, errors and durations; block:
    five-hour blocks, how fast the one that runs fills, and where it will end.
    """
    from observatory.cli.stats import Options, run

    run(Options(**options))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The whole status as JSON.")
@which_server
@one_line_errors
def status(as_json: bool, place: dict[str, Any]) -> None:
    """Show what the running server sees and does."""
    import trio

    from observatory.cli.place import Where
    from observatory.cli.status import run

    trio.run(run, Where(**place).server(), as_json)


@main.command()
@click.option("--link", is_flag=True, help="Print a link that lets a browser in; it works once, within a minute.")
@click.option("--rotate", is_flag=True, help="Make a new token; whoever came with the old one is closed.")
@which_server
@one_line_errors
def token(link: bool, rotate: bool, place: dict[str, Any]) -> None:
    """Print where the token is that clients of a server with --auth token need; or hand it to a browser."""
    from observatory.cli.place import Where
    from observatory.cli.token import run

    run(Where(**place), link=link, rotate=rotate)


@main.command()
@click.argument("what", metavar="CONVERSATION|PROJECT")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def forget(what: str, yes: bool, data_dir: Path | None) -> None:
    """Remove a conversation with its sub-agents, or a project, from the archive for good; also while a server runs.

    The argument is a project's name or . for the one of this directory; or a conversation's id, or its first 6
    characters or more. The transcripts themselves stay: you are told how to delete them.
    """
    from observatory.cli.forget import run

    run(what, data_dir, yes=yes)


@main.command()
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=1.0, metavar="X",
              help="How many times as fast as in life.  [default: 1]")  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="Other made-up sessions; the same seed gives the same ones.")
@click.option("--from", "source", type=click.Path(path_type=Path), metavar="DIR",
              help="Replay the transcripts in DIR, which is only read, instead of made-up ones.")  # fmt: skip
@click.option("--port", default="0", help="Port to listen on.  [default: a free one]")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR",
              help="Write to this directory, empty or absent, and leave the transcripts there.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Only serve; show nothing here.")
@one_line_errors
def demo(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Try everything without transcripts: a server over made-up sessions, shown as they happen. Leaves nothing."""
    from observatory.cli.demo import Options, run

    run(Options(**options))


@main.command()
@click.option("--root", "roots", multiple=True, metavar="DIR",
              help="A Claude config directory, or its projects/ directory; repeatable.")  # fmt: skip
@click.option("--data-dir", metavar="DIR", help="Where the log and the archive are kept.")
@click.option("--port", help="The port that a server shall listen on.  [default: 8765]")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Files that are not to be read, as for serve.")
@click.option("--account", is_flag=True, help="Compare the archive with every file instead, byte by byte.")
@click.option("--deep", is_flag=True, help="Have SQLite check the whole database too.")
@click.option("--rebuild", is_flag=True, help="Make a new archive of what can be read of a damaged one.")
@click.option("--json", "as_json", is_flag=True, help="Everything found as JSON.")
@one_line_errors
def doctor(account: bool, deep: bool, rebuild: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401 - the options above
    """Find what is wrong with this set-up, and say how to cure it. Changes nothing, but with --rebuild."""
    from observatory.cli import doctor as command

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    if rebuild:
        command.rebuild(given)
        return
    well = command.account(given, as_json) if account else command.check(given, as_json, deep=deep)
    sys.exit(0 if well else EXIT_FAILURE)


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@one_line_errors
def trace(files: tuple[str, ...]) -> None:
    """Latency per hop and end to end, from the JSON log lines in FILE… (- reads standard input)."""
    from observatory.cli.trace import run

    run(files)


for _command in (search, show, resume, export, tag, prune, backup, restore, notify, hooks, top, supabase):
    main.add_command(_command)
