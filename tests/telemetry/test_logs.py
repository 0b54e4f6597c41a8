"""Log lines: their shape, and that a stream in trouble costs lines, never time or an exception."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from observatory.telemetry.logs import (
    LIBRARY_SECONDS,
    QUEUE_LINES,
    LibraryLogs,
    LineSink,
    Logs,
    configure,
    format_for,
    writer_of,
)


@pytest.fixture(autouse=True)
def _structlog_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, LibraryLogs)]:
        root.removeHandler(handler)


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(logs: Logs, stream: io.StringIO) -> list[dict[str, Any]]:
    logs.sink.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_event_level_fields_and_utc_milliseconds() -> None:
    stream = io.StringIO()
    logs = configure("json", stream)
    logs.log.info("client.evicted", client="c7", seq=42)
    [line] = lines_of(logs, stream)
    stamp = line.pop("timestamp")
    assert line == {"event": "client.evicted", "level": "info", "client": "c7", "seq": 42}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    logs = configure("json", stream, "warning")
    logs.log.info("quiet.one")
    logs.log.warning("loud.one")
    assert [line["event"] for line in lines_of(logs, stream)] == ["loud.one"]


def test_any_logger_of_structlog_ends_in_the_same_stream() -> None:
    stream = io.StringIO()
    logs = configure("json", stream)
    structlog.get_logger().info("from.elsewhere")
    assert lines_of(logs, stream)[0]["event"] == "from.elsewhere"


def test_an_exception_is_a_field_of_its_line() -> None:
    stream = io.StringIO()
    logs = configure("json", stream)
    try:
        raise RuntimeError("disk on fire")
    except RuntimeError:
        logs.log.exception("store.failed")
    [line] = lines_of(logs, stream)
    assert "RuntimeError: disk on fire" in line["exception"]


def test_values_that_json_lacks_are_written_somehow() -> None:
    stream = io.StringIO()
    logs = configure("json", stream)
    logs.log.info("odd.values", path=Path("/x"), name="\udc80", big=2**70, of={1: {2}})
    [line] = lines_of(logs, stream)
    assert (line["name"], line["big"]) == ("\udc80", 2**70)


@pytest.mark.parametrize(("stream", "coloured"), [(Terminal(), True), (io.StringIO(), False)])
def test_the_console_has_colour_only_on_a_terminal(stream: io.StringIO, coloured: bool) -> None:
    logs = configure("console", stream)
    logs.log.info("server.started", port=8000)
    logs.sink.close()
    assert "server.started" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_the_console_neutralises_fields_and_keeps_the_lines_of_a_traceback() -> None:
    stream = io.StringIO()
    logs = configure("console", stream)
    logs.log.info("file.odd", path="/x\x1b]0;owned\x07\nforged", exception="a\n\x1b[2Jb")
    logs.sink.close()
    assert "\x1b" not in stream.getvalue()
    assert "␊forged" in stream.getvalue()
    assert "a\n␛[2Jb" in stream.getvalue()


def test_the_format_follows_the_stream() -> None:
    assert [format_for(Terminal()), format_for(io.StringIO())] == ["console", "json"]


def test_a_file_gets_its_lines_through_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        logs = configure("json", file)
        logs.log.info("one.line", text="é" * 100_000)
        logs.sink.close()
    assert json.loads(path.read_bytes())["text"] == "é" * 100_000


def test_a_closed_pipe_drops_and_counts() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        logs = configure("json", stream)
        for _ in range(3):
            logs.log.info("nobody.listens")
        logs.sink.close()
        assert logs.sink.dropped == 3


def test_a_closed_stream_drops_and_counts() -> None:
    stream = io.StringIO()
    logs = configure("json", stream)
    stream.close()
    logs.log.info("nobody.listens")
    logs.sink.close()
    assert logs.sink.dropped == 1


def pipe_that_is_full() -> tuple[int, TextIO, int]:
    """A pipe's two ends, and how many bytes fill it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    try:
        while True:
            filled += os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, open(writer, "w"), filled


def test_a_full_pipe_blocks_nobody_and_the_loss_is_told_when_it_drains() -> None:
    reader, stream, filled = pipe_that_is_full()
    with stream, open(reader, "rb") as read_end:
        logs = configure("json", stream)
        lines = QUEUE_LINES + 100
        for n in range(lines):
            logs.log.info("line.written", n=n)
        dropped = logs.sink.dropped
        assert 99 <= dropped <= 100  # the writer thread may hold one line in its hands
        read_end.read(filled)
        told = [json.loads(read_end.readline()) for _ in range(lines - dropped + 1)]
        losses = [line for line in told if line["event"] == "log.dropped"]
        assert [(line["count"], line["total"]) for line in losses] == [(dropped, dropped)]
        assert [line["n"] for line in told if line["event"] == "line.written"] == list(range(lines - dropped))
        logs.sink.close()


def test_closing_does_not_wait_for_a_pipe_that_stays_full() -> None:
    reader, stream, filled = pipe_that_is_full()
    with stream, open(reader, "rb") as read_end:
        logs = configure("json", stream)
        logs.log.info("last.words")
        logs.sink.close(seconds=0.0)
        read_end.read(filled)
        assert b"last.words" in read_end.readline()
        logs.sink.close()


def test_closing_gives_up_when_even_the_queue_is_full() -> None:
    sink = LineSink(writer_of(io.StringIO()))  # never started: nobody drains it
    for _ in range(QUEUE_LINES):
        sink.write(b"")
    sink.close(seconds=0.0)
    assert sink.dropped == 0


def test_what_a_library_logs_is_one_line_without_its_traceback() -> None:
    stream = io.StringIO()
    configure("json", io.StringIO())
    logs = configure("json", stream)  # the second one's sink is the only one that gets it
    try:
        raise OSError(24, "Too many open files")
    except OSError:
        logging.getLogger("trio.serve_listeners").error("accept returned %s", "EMFILE", exc_info=True)
    [line] = lines_of(logs, stream)
    assert (line["event"], line["level"], line["logger"]) == ("library.logged", "warning", "trio.serve_listeners")
    assert line["message"] == "accept returned EMFILE"
    assert "exception" not in line


def test_a_library_that_repeats_itself_is_counted() -> None:
    stream, now = io.StringIO(), [0.0]
    logs = configure("json", stream)
    LibraryLogs(lambda: now[0]).install()
    for seconds in (0.0, 0.1, 0.1, LIBRARY_SECONDS):
        now[0] += seconds
        logging.getLogger("a").warning("again")
    logging.getLogger("b").warning("for the first time")
    told = [(line["logger"], line["passed_over"]) for line in lines_of(logs, stream)]
    assert told == [("a", 0), ("a", 2), ("b", 0)]
