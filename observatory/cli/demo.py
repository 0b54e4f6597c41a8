"""`observatory demo`: a server over made-up or replayed sessions, shown as they happen; nothing is left behind."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click
import trio

from observatory import app
from observatory.cli.notices import Notices
from observatory.cli.serve import page_of
from observatory.cli.tail import FOR_PEOPLE, show
from observatory.cli.terminal import Printer, one_line
from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.config import Config, load, projects_of
from observatory.core.client_items import Closed, Connected
from observatory.core.closing import CloseCode
from observatory.core.errors import UsageError
from observatory.demo.player import Pace, Tally, play
from observatory.demo.replay import Source, replay, sources
from observatory.demo.stream import stream
from observatory.telemetry import logs

MOST_BYTES = 512 * 1024 * 1024  # of made-up lines: three days at speed 1, four minutes at speed 1,000
EVENT_BYTES = 128 * 1024 * 1024  # of the log, so that an endless demo does not fill the disk
SLOW_SECONDS = 60.0  # server, writer and watcher share one process: their queueing is no news
DRAIN_SECONDS = 0.1  # few watch, and whoever ends a demo waits for its farewell
STILL_SECONDS = 1.0  # nothing new for so long: a replay has been taken in
ALONE = {"host": "127.0.0.1", "auth": "none", "tls_cert": "", "tls_key": "", "trusted_proxies": ()}
GOODBYE_SECONDS = 2.0  # for the last lines to be shown


@attrs.frozen
class Options:
    """What the command line said; None is what was not given."""

    speed: float
    seed: int | None
    source: Path | None
    port: str
    root: Path | None
    quiet: bool


def run(options: Options) -> None:
    """The command. Raises UsageError, WorldError."""
    files = _files(options)
    with _ended_by_any_signal(), _places(options.root) as (root, data_dir):
        config = load({"roots": (str(root),), "data_dir": data_dir, "port": options.port, **ALONE,
                       "event_retention_bytes": EVENT_BYTES, "slow_event_seconds": SLOW_SECONDS,
                       "drain_seconds": DRAIN_SECONDS})  # fmt: skip
        sink = logs.configure(logs.format_for(sys.stderr), sys.stderr, "warning").sink
        try:
            demo = Demo(config, options, files)
            trio.run(demo.run)
        finally:
            sink.close()
    click.echo(demo.farewell)


def _files(options: Options) -> list[Source] | None:
    """What is to be replayed, if anything."""
    if options.source is None:
        return None
    if options.seed is not None:
        raise UsageError("--seed is for made-up sessions; leave it out with --from")
    projects = projects_of(str(options.source))
    target = options.root and os.path.realpath(options.root)
    if target and Path(target).is_relative_to(os.path.realpath(options.source)):
        raise UsageError(f"--root {options.root} lies in --from, which is only read; choose another place")
    found = sources(projects, _trouble) if projects.is_dir() else []
    if not found:
        raise UsageError(f"--from {options.source} holds no transcripts; give a Claude config or projects directory")
    return found


def _trouble(what: str) -> None:
    click.echo(f"observatory: left out: {one_line(what)}", err=True)


@contextmanager
def _ended_by_any_signal() -> Iterator[None]:
    """Also a closed terminal, or a signal before the server listens, must not leave the directory behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    before_hangup = signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, before_hangup)


@contextmanager
def _places(root: Path | None) -> Iterator[tuple[Path, Path]]:
    """The projects directory to write to, and a data directory that goes at the end, as the root does if it is ours."""
    with TemporaryDirectory(prefix="observatory-demo-") as temporary:
        claude = Path(temporary) / "claude" if root is None else root.absolute()
        try:
            if claude.exists() and (not claude.is_dir() or any(claude.iterdir())):
                raise UsageError(f"--root {root} is not empty; give a directory that is, or that does not exist yet")
            projects = claude if claude.name == "projects" else claude / "projects"
            projects.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--root {root} cannot be made: {error.strerror}") from None
        yield projects, Path(temporary) / "data"


@attrs.define(eq=False)
class Demo:
    """One run: the server, the writer, and the watcher on the terminal. Only its own tasks touch it."""

    _config: Config
    _options: Options
    _files: list[Source] | None
    _tally: Tally = attrs.field(factory=Tally, init=False)
    _watched: trio.Event = attrs.field(factory=trio.Event, init=False)
    farewell: str = attrs.field(default="", init=False)

    async def run(self) -> None:
        """Until a signal comes, or all has been replayed."""
        async with trio.open_nursery() as nursery:

            def perform(ready: app.Ready) -> None:
                self._tell(ready)
                nursery.start_soon(self._write, ready.url)
                if self._options.quiet:
                    self._watched.set()
                else:
                    showing.start_soon(self._show, ready.url)

            async with trio.open_nursery() as showing:
                await app.serve(self._config, perform)
                showing.cancel_scope.deadline = trio.current_time() + GOODBYE_SECONDS
            nursery.cancel_scope.cancel()
        self.farewell = self.farewell or f"the demo is over after {self._written()}"

    def _tell(self, ready: app.Ready) -> None:
        what = "made-up sessions, nothing here is real" if self._files is None else "real sessions, replayed"
        click.echo(f"observatory demo is ready at {ready.url}   ({what}; Ctrl-C ends it)")
        click.echo(f"open {page_of(ready.url)} in a browser")
        click.echo(f"watch it elsewhere too: {sys.argv[0]} tail --data-dir {ready.data_dir}")
        click.echo(f"writing to {', '.join(ready.roots)}\n")
        sys.stdout.flush()

    async def _write(self, url: str) -> None:
        """Write it all, once the watcher looks."""
        await self._watched.wait()
        projects, pace = Path(self._config.roots[0]), Pace(self._options.speed)
        if self._files is not None:
            await play(replay(self._files, _trouble), projects, pace, self._tally, inf)
            with suppress(Closed):  # somebody has ended it meanwhile
                await self._sum_up(url)
                signal.raise_signal(signal.SIGTERM)  # ends in order, as by hand
        else:
            await play(stream(self._options.seed or 0, pace.stamp), projects, pace, self._tally, MOST_BYTES)
            click.echo(f"observatory: the demo pauses after {self._written()}; the server runs on", err=True)

    async def _show(self, url: str) -> None:
        """What `tail` shows, in this terminal. Printing is done in a thread: a pager that pauses stops no server."""
        printer, notices = Printer.to(sys.stdout), Notices.to(sys.stderr)
        try:
            async with follow(url, FOR_PEOPLE, snapshot=True, reconnect=False) as items:
                async for item in items:
                    await trio.to_thread.run_sync(partial(show, item, printer, notices), abandon_on_cancel=True)
                    if isinstance(item, Connected):
                        self._watched.set()
        except Closed as error:
            if error.code != CloseCode.RESTART:  # the server's goodbye
                raise
        except BrokenPipeError:  # the reader of our output has seen enough
            signal.raise_signal(signal.SIGTERM)

    async def _sum_up(self, url: str) -> None:
        """Wait until the server has taken in what was written, and count."""
        async with connect(url) as connection:
            before: tuple[Any, ...] = ()
            while (now := _progress((await connection.request("get_status")).data)) != before:
                before = now
                await trio.sleep(STILL_SECONDS)
            projects = (await connection.request("get_snapshot")).data["projects"]
        conversations = sum(project.get("conversation_count", 0) for project in projects)
        found = f"{_counted(conversations, 'conversation')} in {_counted(len(projects), 'project')}"
        self.farewell = f"replayed {self._written()}: {found}"

    def _written(self) -> str:
        transcripts = sum(path.endswith(".jsonl") for path in self._tally.files)
        lines = f"{_counted(self._tally.lines, 'line')} in {_counted(transcripts, 'transcript')}"
        return f"{lines}, {self._tally.written / 1e6:,.1f} MB"


def _progress(status: dict[str, Any]) -> tuple[Any, ...]:
    gauges, clients = status["gauges"], status["clients"]
    waiting = ("sources", "sources_waiting", "history_waiting", "outbox_frames")
    return status["position"]["head"], clients["behind"], *(gauges[key] for key in waiting)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
