"""HTTP beside WebSockets: what it costs the push, and how fast it answers.

    python -m tests.bench.http [--pairs 7] [--lines 300] [--only push,idle,answers,busy,hook] [--smoke] [--json FILE]

push: CPU per delivery with an HTTP side and without one. idle: live lines while 1,000 kept connections do nothing, and
without them. answers: the snapshot of 1,000 conversations, and events as lines. busy: live lines while figures,
searches, snapshots and events are asked for one after the other. hook: from a hook's program to a client.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.bench import fanout
from tests.bench.facts import emit, parser, told
from tests.bench.figures import median, median_ratio, quantile
from tests.bench.latency_run import Writer, ours
from tests.bench.latency_run import measure as laps_of
from tests.bench.processes import ROOT, NotMeasured, environment, running
from tests.bench.status import wait_for_history
from tests.bench.transcript import Conversation
from tests.bench.wire import Audience
from tests.running import free_port

CONVERSATIONS = 1000
IDLE = 1000
CLIENTS = 10
REQUESTS = ("/api/v1/stats?group=day", "/api/v1/stats?group=conversation", "/api/v1/search?q=the", "/api/v1/snapshot",
            "/api/v1/events/ndjson?since=0")  # fmt: skip
HOOK = "import sys; from observatory.hook import main; main()"


def push(opts: argparse.Namespace) -> dict[str, Any]:
    """Interleaved pairs of the fan-out, with an HTTP side and without."""
    with tempfile.TemporaryDirectory(prefix="http-") as folder:
        fanout.build(Path(folder))
        load, sizes = Path(folder) / "load", argparse.Namespace(**{**vars(opts), "size": 1024, "interval_us": 20_000})
        command = [sys.executable, "-m", "tests.bench.fanout_server"]
        found: dict[str, list[float]] = {"with": [], "without": []}
        commands: dict[str, fanout.Command] = {
            "with": lambda port, data: [*command, port, data, "--http"],
            "without": lambda port, data: [*command, port, data],
        }
        for number in range(opts.pairs):
            for name in ("with", "without") if number % 2 else ("without", "with"):
                result, _ = fanout.measure(commands[name], load, sizes)
                found[name].append(result["cpu_us"])
            told(f"pair {number + 1}: {found['without'][-1]:.2f} µs without, {found['with'][-1]:.2f} with")
    return {
        "ratio": median_ratio(found["with"], found["without"]),
        "with_us": median(found["with"]),
        "without_us": median(found["without"]),
    }


@contextmanager
def served(home: Path) -> Iterator[tuple[int, Writer]]:
    """A server over a home, and a session that is written."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        server, writer = ours(home, port), Writer(home, 1)
        with running(server.command, port, log, environment(home)):
            yield port, writer


def listeners(port: int) -> Audience:
    """Clients of everything."""
    server = ours(Path(), port)
    audience = Audience(port, CLIENTS, server.subprotocol, server.hello)
    audience.settle(server.ready, 60.0)
    return audience


def p99_of(audience: Audience, writer: Writer, lines: int, seed: int) -> float:
    """Milliseconds until the last client had a line. Raises NotMeasured: one came late or never."""
    laps = laps_of(audience, writer, b'"message_added"', lines, seed)
    whole = [lap.last for lap in laps if lap is not None]
    if len(whole) < len(laps):
        raise NotMeasured(f"{len(laps) - len(whole)} lines came late or never")
    return quantile(whole, 0.99) * 1e3


def idle(opts: argparse.Namespace) -> dict[str, Any]:
    """Interleaved pairs: live lines with idle kept connections and without."""
    found: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory(prefix="http-") as folder, served(Path(folder)) as (port, writer):
        audience = listeners(port)
        p99_of(audience, writer, opts.lines, 0)
        for number in range(opts.pairs):
            for name in ("with", "without") if number % 2 else ("without", "with"):
                kept = [keep_alive(port) for _ in range(opts.idle)] if name == "with" else []
                found[name].append(p99_of(audience, writer, opts.lines, number))
                for one in kept:
                    one.close()
            told(f"pair {number + 1}: p99 {found['without'][-1]:.2f} ms without, {found['with'][-1]:.2f} with")
        audience.close()
    return {
        "ratio": median_ratio(found["with"], found["without"]),
        "with_ms": median(found["with"]),
        "without_ms": median(found["without"]),
    }


def keep_alive(port: int) -> socket.socket:
    """A connection that has asked once, and asks nothing more."""
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET /api/v1/projects HTTP/1.1\r\nHost: localhost\r\n\r\n")
    one.recv(65536)
    return one


def history(home: Path, conversations: int, lines: int) -> None:
    """Conversations that the server finds."""
    for number in range(conversations):
        one = Conversation(number + 100)
        folder = home / ".claude/projects" / f"{one.folder}-{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [one.prompt(), *(one.answer() for _ in range(lines))]
        (folder / f"{one.session_id}.jsonl").write_bytes(b"".join(rows))


def answers(opts: argparse.Namespace) -> dict[str, Any]:
    """The snapshot, and events as lines."""
    with tempfile.TemporaryDirectory(prefix="http-") as folder:
        home = Path(folder)
        history(home, opts.conversations, 3)
        with served(home) as (port, _):
            wait_for_history(port, opts.conversations)
            snapshots = [seconds(port, "/api/v1/snapshot")[0] for _ in range(21)]
            one = Conversation(7)
            path = home / ".claude/projects" / one.folder / f"{one.session_id}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            time.sleep(0.5)
            with path.open("ab") as file:
                for _ in range(opts.events):
                    file.write(one.answer())
            wait_for_events(port, opts.events)
            rates = []
            for _ in range(7):
                took, body = seconds(port, "/api/v1/events/ndjson?since=0")
                rates.append(body.count(b"\n") / took)
    return {
        "snapshot_ms": round(statistics.median(snapshots) * 1e3, 2),
        "snapshot_worst_ms": round(max(snapshots) * 1e3, 2),
        "events_per_s": round(statistics.median(rates)),
        "event_bytes": len(body) // max(1, body.count(b"\n")),
    }


def seconds(port: int, path: str) -> tuple[float, bytes]:
    """How long an answer takes, on a connection that is there already."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as http:
        http.request("GET", "/api/v1/health")
        http.getresponse().read()
        began = time.perf_counter()
        http.request("GET", path)
        answer = http.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
    if answer.status != 200:
        raise NotMeasured(f"{path}: {answer.status} {body[:200]!r}")
    return took, body


def wait_for_events(port: int, events: int) -> None:
    """Until the log has so many."""
    end = time.monotonic() + 60
    while json.loads(seconds(port, "/api/v1/health")[1])["position"]["seq"] < events:
        if time.monotonic() > end:
            raise NotMeasured("the events did not come")
        time.sleep(0.1)


def busy(opts: argparse.Namespace) -> dict[str, Any]:
    """Live lines while large answers are made one after the other, and at rest."""
    with tempfile.TemporaryDirectory(prefix="http-") as folder:
        home = Path(folder)
        history(home, opts.conversations, 100)
        with served(home) as (port, writer):
            wait_for_history(port, opts.conversations)
            while '"search_lag_records":0' not in seconds(port, "/api/v1/status")[1].decode():
                time.sleep(0.2)
            audience = listeners(port)
            rest = p99_of(audience, writer, opts.lines, 0)
            done, counts = Event(), dict.fromkeys(REQUESTS, 0)
            asking = Thread(target=ask_on, args=(port, done, counts))
            asking.start()
            try:
                during = p99_of(audience, writer, opts.lines * 2, 1)
            finally:
                done.set()
                asking.join()
                audience.close()
            took = {path: round(seconds(port, path)[0] * 1e3, 1) for path in REQUESTS}
    return {"rest_p99_ms": rest, "during_p99_ms": during, "answers": sum(counts.values()), "each_ms": took}


def ask_on(port: int, done: Event, counts: dict[str, int]) -> None:
    """Ask for one thing after the other."""
    while not done.is_set():
        for path in REQUESTS:
            seconds(port, path)
            counts[path] += 1


def hook(opts: argparse.Namespace) -> dict[str, Any]:
    """From the hook's input to the client, by its program; the program alone; and from the request to the client."""
    event = b'{"hook_event_name": "PermissionRequest", "session_id": "s", "mark": "%d"}'
    whole, own, bare, request = list[float](), list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="http-") as folder, served(Path(folder)) as (port, _):
        audience = listeners(port)
        for number in range(opts.hooks):
            began = time.perf_counter()
            words = [sys.executable, "-c", HOOK, "--data-dir", str(Path(folder) / "data")]
            with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=ROOT) as child:
                assert child.stdin is not None
                child.stdin.write(event % number)
                child.stdin.close()
                whole.append(heard(audience, b'"mark":"%d"' % number, began))
            own.append(time.perf_counter() - began)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            bare.append(time.perf_counter() - began)
            with closing(HTTPConnection("127.0.0.1", port)) as http:
                http.connect()
                began = time.perf_counter()
                http.request("POST", "/api/v1/events", event % -number, {"Content-Type": "application/json"})
                request.append(heard(audience, b'"mark":"%d"' % -number, began))
        audience.close()
    return {"program_to_client_ms": in_ms(whole), "program_ms": in_ms(own), "python_alone_ms": in_ms(bare),
            "request_to_client_ms": in_ms(request)}  # fmt: skip


def in_ms(values: list[float]) -> float:
    """The median of seconds, in ms."""
    return round(statistics.median(values) * 1e3, 2)


def heard(audience: Audience, mark: bytes, began: float) -> float:
    """Seconds until all clients had it."""
    waiting = set(range(len(audience)))
    for client, at, text in audience.frames(began + 5):
        if mark in text:
            waiting.discard(client)
            if not waiting:
                return at - began
    raise NotMeasured("a hook event did not arrive")


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "push": push, "idle": idle, "answers": answers, "busy": busy, "hook": hook,
}  # fmt: skip


def main() -> None:
    """Measure what was asked for, and print it."""
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=7)
    made.add_argument("--lines", type=int, default=300)
    made.add_argument("--only", default=",".join(PARTS))
    opts = made.parse_args()
    opts.clients, opts.messages, opts.conversations = 1000, 300, CONVERSATIONS
    opts.idle, opts.events, opts.hooks = IDLE, 20_000, 30
    if opts.smoke:
        opts.clients, opts.messages, opts.conversations, opts.pairs = 20, 20, 20, 1
        opts.idle, opts.events, opts.hooks, opts.lines = 20, 200, 2, 20
    results = {}
    for name in opts.only.split(","):
        try:
            results[name] = PARTS[name](opts)
            told(f"{name}: {results[name]}")
        except NotMeasured as obstacle:
            told(f"not measured: {name}: {obstacle}")
    sizes = {key: getattr(opts, key) for key in ("pairs", "lines", "clients", "conversations", "idle", "events")}
    emit("http", sizes, results, opts)
    if len(results) < len(opts.only.split(",")):
        sys.exit(1)


if __name__ == "__main__":
    main()
