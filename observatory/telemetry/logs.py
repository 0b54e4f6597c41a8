"""Structured logs: JSON lines to a file or pipe, colour on a terminal, and never a stop of the pipeline.

    logs = configure("json", sys.stderr, "info")
    logs.log.info("client.evicted", client=client_id, seq=n)

Events are constant `noun.verb` names, everything that varies is a field. The caller never logs text of transcripts:
prompts and tool output are the user's; ids, counts and positions are ours.

Lines go through a bounded queue to one writer thread, because stderr may be a pipe that nobody reads or a full disk.
Setting the descriptor non-blocking instead would change it for every process that shares it, the user's shell included.
What does not fit or cannot be written is dropped, counted in `LineSink.dropped`, and told by a `log.dropped` line.
What libraries log by the standard library (trio, when no descriptor is left) goes the same way, as `library.logged`.
"""

import atexit
import io
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import attrs
import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from observatory.core.neutral import neutral

Format = Literal["json", "console"]
QUEUE_LINES = 4096  # about 1 MiB; a minute of a node in trouble, nothing of a node in good health
LIBRARY_SECONDS = 10.0  # from one line of a library's logger to the next; trio's repeats itself ten times a second
CLOSE_SECONDS = 1.0  # a process that ends waits so long for a reader of its last lines


@attrs.define(eq=False)
class LineSink:
    """The file that structlog writes to: takes lines without waiting, writes them in a thread of its own.

    The thread is a daemon: a stderr that blocks for ever cannot keep the process from ending.
    """

    _write: Callable[[bytes], object]
    _queue: queue.Queue[bytes | None] = attrs.field(factory=lambda: queue.Queue(QUEUE_LINES), init=False)
    _thread: threading.Thread = attrs.field(init=False)
    _refused: int = attrs.field(default=0, init=False)  # written by callers only
    _failed: int = attrs.field(default=0, init=False)  # written by the thread only
    _told: int = attrs.field(default=0, init=False)

    @_thread.default
    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        """Start the writer thread."""
        self._thread.start()
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Lines that were lost: the queue was full, or the stream closed or out of space."""
        return self._refused + self._failed

    def write(self, line: bytes) -> None:
        """Queue a line; never blocks, never raises."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._refused += 1

    def flush(self) -> None:
        """Nothing to do: structlog calls it after every line."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what is queued, for at most `seconds`. Idempotent."""
        atexit.unregister(self.close)
        deadline = time.monotonic() + seconds
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while self._attempt(self._queue.get()):
            pass

    def _attempt(self, line: bytes | None) -> bool:
        """Write one line if possible; whether there are more to come (None is the last)."""
        try:
            if self.dropped > self._told:
                self._tell()
            if line is not None:
                self._write(line)
        except (OSError, ValueError):  # full disk, closed pipe; ValueError: closed Python stream
            self._failed += line is not None
        return line is not None

    def _tell(self) -> None:
        dropped = self.dropped
        fields = {"level": "warning", "event": "log.dropped", "count": dropped - self._told, "total": dropped}
        self._write(orjson.dumps({"timestamp": timestamp(), **fields}) + b"\n")
        self._told = dropped


class LibraryLogs(logging.Handler):
    """Takes what libraries log; without it, it goes to stderr directly, with tracebacks, and waits for a reader."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._next: dict[str, float] = {}
        self._passed_over: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line, or count it when there was one of the same logger a moment ago."""
        name, now = record.name, self._clock()
        if now < self._next.get(name, now):
            self._passed_over[name] = self._passed_over.get(name, 0) + 1
            return
        self._next[name] = now + LIBRARY_SECONDS
        log, passed_over = structlog.get_logger(), self._passed_over.pop(name, 0)
        log.warning("library.logged", logger=name, message=record.getMessage(), passed_over=passed_over)

    def install(self) -> None:
        """Take the place of the one from an earlier `configure`."""
        root = logging.getLogger()
        for handler in [known for known in root.handlers if isinstance(known, LibraryLogs)]:
            root.removeHandler(handler)
        root.addHandler(self)


@attrs.frozen
class Logs:
    """What `configure` built: `log` for constructors, `sink` to read `dropped` and to `close` at the end."""

    log: FilteringBoundLogger
    sink: LineSink


def configure(format: Format, stream: TextIO, level: str = "info") -> Logs:
    """Send all logs of the process to a stream, from `level` (debug, info, warning, error) on.

    Also sets structlog's own configuration, so that `structlog.get_logger()` anywhere ends in the same sink.
    """
    sink = LineSink(writer_of(stream))
    sink.start()
    structlog.configure(
        processors=_processors(format, colors=stream.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.BytesLogger(cast("Any", sink)),
        cache_logger_on_first_use=False,  # a logger bound once is fast anyway, and tests configure twice
    )
    LibraryLogs().install()
    return Logs(log=structlog.get_logger().bind(), sink=sink)


def format_for(stream: TextIO) -> Format:
    """Console for people at a terminal, JSON for files and pipes."""
    return "console" if stream.isatty() else "json"


def timestamp() -> str:
    """Now, as RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def writer_of(stream: TextIO) -> Callable[[bytes], object]:
    """A function that writes bytes to a stream: through its descriptor where there is one, else as text."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return lambda data: stream.write(data.decode("utf-8", "replace"))
    return lambda data: _write_all(descriptor, data)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _processors(format: Format, *, colors: bool) -> list[Processor]:
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamp,
        structlog.processors.format_exc_info,
    ]
    if format == "json":
        return [*common, structlog.processors.JSONRenderer(serializer=_to_json)]
    return [*common, _neutralise, structlog.dev.ConsoleRenderer(colors=colors), _to_bytes]


def _stamp(_log: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["timestamp"] = timestamp()
    return event


def _to_json(event: EventDict, **_: object) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a lone surrogate (a file name), an integer over 64 bits: rare, so slowly and ASCII only
        return json.dumps(event, default=repr, skipkeys=True).encode()


def _neutralise(_log: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):  # a traceback keeps its lines
            event[key] = "\n".join(map(neutral, value.split("\n"))) if key == "exception" else neutral(value)
    return event


def _to_bytes(_log: WrappedLogger, _method: str, line: Any) -> bytes:  # noqa: ANN401 - the renderer's result
    return str(line).encode("utf-8", "backslashreplace")
