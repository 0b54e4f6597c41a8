"""Frames: a million hostile inbound messages over real sockets. The server stays up, in bounded memory, and answers.

    python -m tests.bench.frames [--count 1000000] [--seed 1] [--smoke] [--json FILE]

Nine tenths go to a server whose rates are lifted, so that each message is looked at and each reply is checked against
what the protocol allows; one tenth to a server as it is, which may close a client that sends so much. Exits with 1 when
a reply or a close is not allowed, a client's handler failed, memory grows, or a good client is not served afterwards.
"""

import argparse
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson

from tests.bench.facts import emit, parser, told
from tests.bench.figures import table
from tests.bench.frames_made import CLOSE, PONG, TEXT, Inbound, Maker
from tests.bench.hostile import bounded
from tests.bench.processes import ROOT, SERVE, environment, peak_kb, rss_kb, running, serve_command
from tests.bench.status import status
from tests.bench.wire import Audience, split
from tests.running import free_port

BURST = range(30, 111)  # messages before one that ends the connection
PATIENCE = 20.0  # seconds without an answer after which it counts as missing
UNFINISHED = 0.02  # seconds for the answer to what need not have one
LIFTED = (
    "from observatory.core import protocol; protocol.REQUESTS_PER_S = protocol.REQUEST_BURST = 1e9; "
    "protocol.ERRORS = (1e-6, 10**9); "
)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: observatory.v1\r\n\r\n"
)
EVENT_LINES = 300  # of a transcript, so that there is something to resume
SHOWN = 10


def documented() -> tuple[frozenset[str], frozenset[int]]:
    """Error codes and close codes of docs/protocol.md."""
    page = (ROOT / "docs/protocol.md").read_text()
    errors = page.partition("### Errors")[2].partition("### Limits")[0]
    codes = re.findall(r"^\| `([A-Z_]+)` \|", errors, re.MULTILINE)
    closes = re.findall(r"^\| (\d{4}) \| [A-Z_0-9]+ \|", page, re.MULTILINE)
    return frozenset(codes), frozenset(map(int, closes))


CODES, CLOSES = documented()
REPLIES = frozenset({"subscription_confirmed", "subscription_status", "snapshot", "status", "pong"})


@attrs.define
class Tally:
    """Totals of a run. memory: KiB now and then; replies, closes, kinds: how many of each."""

    messages: int = 0
    frames: int = 0
    bytes: int = 0
    connections: int = 0
    seconds: float = 0.0
    peak_kb: int = 0
    memory: list[int] = attrs.field(factory=list)
    kinds: Counter[str] = attrs.field(factory=Counter)
    replies: Counter[str] = attrs.field(factory=Counter)
    closes: Counter[str] = attrs.field(factory=Counter)
    faults: list[str] = attrs.field(factory=list)

    def sent(self, one: Inbound) -> None:
        """Count one."""
        self.messages += 1
        self.frames += one.frames
        self.bytes += len(one.data)
        self.kinds[one.kind] += 1


# -- judging -----------------------------------------------------------------------------------------------------------


def kind_of(payload: bytes) -> tuple[str, object]:
    """A reply's kind and the id it answers; an event or a ping of the server's own is ""."""
    message = orjson.loads(payload)
    if "seq" in message or message["type"] in ("ping", "connection_established"):
        return "", None
    kind = message["type"] if message["type"] != "error" else f"error:{message['data']['code']}"
    return kind, message.get("re")


def judge(sent: list[Inbound], replies: list[tuple[str, object]], strict: bool) -> Iterator[str]:
    """What is wrong with the replies to some messages. strict: no rate is in force and no close cut them short."""
    for kind, _ in replies:
        if kind not in REPLIES and kind.removeprefix("error:") not in CODES:
            yield f"{kind} is not documented"
    by_id = {one.re: (place, one) for place, one in enumerate(sent) if one.re is not None}
    last = -1
    for kind, re_ in replies:
        if isinstance(re_, bool) or not isinstance(re_, int) or re_ not in by_id:
            continue
        place, one = by_id[re_]
        if place <= last:
            yield f"the reply to {re_} is out of order"
        last = place
        if kind != "error:RATE_LIMIT_EXCEEDED" and kind not in one.answers and "*" not in one.answers:
            yield f"{one.kind}: {kind} for {one.data[:300]!r}"
    least = sum("" not in one.answers for one in sent)
    most = sum(one.answers != {""} for one in sent)
    if len(replies) > most or (strict and len(replies) < least):
        yield f"{len(replies)} replies to {len(sent)} messages, of which {least} to {most} are to be answered"


# -- one connection ----------------------------------------------------------------------------------------------------


class Client:
    """A blocking socket. `read_until` collects replies; `closed`: the server's close code, or None."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.closed: int | None = None
        self.replies: list[tuple[str, object]] = []

    def upgrade(self) -> dict[str, object]:
        """The hello's position. Raises OSError."""
        self.socket.sendall(UPGRADE)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        answer, _, self.rest = data.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101"):
            raise OSError(f"no upgrade: {answer[:100]!r}")
        while not (found := split(self.rest))[0]:
            self.rest += self._receive()
        frames, self.rest = found
        position: dict[str, object] = orjson.loads(frames[0][1])["data"]["position"]
        return position

    def read_until(self, marker: object) -> bool:
        """Read up to the reply to `marker`; False when the server ended the connection before."""
        while True:
            frames, self.rest = split(self.rest)
            for opcode, payload in frames:
                if opcode == TEXT:
                    found = kind_of(payload)
                    if found[0]:
                        self.replies.append(found)
                elif opcode == CLOSE:
                    self.closed = int.from_bytes(payload[:2], "big")
                elif opcode != PONG:
                    self.replies.append((f"opcode {opcode}", None))
            if self.closed is not None:
                return False
            if marker is not None and self.replies and self.replies[-1][1] == marker:
                return True
            try:
                data = self._receive()
            except ConnectionError:
                return False
            self.rest += data

    def send(self, data: bytes) -> None:
        """Send; a server that has closed meanwhile may reset."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        return data


def converse(maker: Maker, port: int, tally: Tally, lifted: bool, left: int) -> None:
    """A burst, the answers to it, then a message that ends the connection."""
    client = Client(port)
    tally.connections += 1
    try:
        position = client.upgrade()
        maker.epoch, maker.head = str(position["epoch"]), int(str(position["head"]))
        burst = [maker.message() for _ in range(min(left, maker.burst(BURST)))]
        burst.append(maker.marker())
        for one in burst:
            tally.sent(one)
        client.send(b"".join(one.data for one in burst))
        through = client.read_until(burst[-1].re)
        faults = list(judge(burst, client.replies, lifted and through))
        if not through and (lifted or client.closed not in (4013, 4509)):
            faults.append(f"closed with {client.closed} in a burst: {[one.kind for one in burst]}")
        if through:
            faults += _end(maker, client, tally)
        tally.replies.update(kind for kind, _ in client.replies)
        tally.closes[str(client.closed or "none")] += 1
        tally.faults += faults
    except TimeoutError:
        tally.faults.append(f"no answer for {PATIENCE:.0f} s")
    finally:
        client.socket.close()


def _end(maker: Maker, client: Client, tally: Tally) -> Iterator[str]:
    """Send a message that ends the connection, and see how it does."""
    last = maker.closer()
    tally.sent(last)
    may_wait = 0 in last.closes
    client.socket.settimeout(UNFINISHED if may_wait else PATIENCE)
    client.send(last.data)
    try:
        client.read_until(None)
    except TimeoutError:
        if not may_wait:
            raise
    allowed = CLOSES if -1 in last.closes else last.closes
    if client.closed not in allowed and not (may_wait and client.closed is None):
        yield f"{last.kind}: closed with {client.closed} instead of {sorted(last.closes)} for {last.data[:100]!r}"


# -- the run -----------------------------------------------------------------------------------------------------------


def good_client(port: int, home: Path) -> Iterator[str]:
    """Whether a client that behaves gets what is written now."""
    audience = Audience(
        port, 1, "observatory.v1", b'{"type":"subscribe","id":1,"data":{"topics":["all_conversations"]}}'
    )
    try:
        audience.settle(b'"subscription_confirmed"', PATIENCE)
        write_lines(home, "after", 1)
        frames = audience.frames(time.perf_counter() + PATIENCE)
        if not any(b'"message_added"' in text for _, _, text in frames):
            yield "a good client got nothing of what was written"
    finally:
        audience.close()


def write_lines(home: Path, name: str, count: int) -> None:
    """A transcript that grows."""
    folder = home / ".claude/projects/-w"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        orjson.dumps({"type": "user", "uuid": f"{name}{n}", "sessionId": name, "cwd": "/w",
                      "message": {"role": "user", "content": f"line {n}"}}) + b"\n"
        for n in range(count)
    ]  # fmt: skip
    with (folder / f"{name}.jsonl").open("ab") as file:
        file.writelines(lines)


def feed(process: "subprocess.Popen[bytes]", port: int, home: Path, maker: Maker, count: int, lifted: bool) -> Tally:
    """Send `count` messages to one server."""
    tally, started, step = Tally(), time.perf_counter(), max(1, count // 100)
    write_lines(home, "before", EVENT_LINES)
    while tally.messages < count and process.poll() is None and len(tally.faults) < SHOWN:
        try:
            converse(maker, port, tally, lifted, count - tally.messages)
        except OSError as error:
            tally.faults.append(f"no connection: {error}")
        if tally.messages // step > len(tally.memory) and process.poll() is None:
            tally.memory.append(rss_kb(process.pid))
            if len(tally.memory) % 10 == 0:
                told(f"{tally.messages:,} messages, {tally.memory[-1] / 1024:.0f} MiB, {len(tally.faults)} faults")
    tally.seconds = time.perf_counter() - started
    if process.poll() is not None:
        tally.faults.append(f"the server ended with {process.returncode}")
        return tally
    tally.peak_kb = peak_kb(process.pid)
    tally.faults += good_client(port, home)
    if failures := status(port)["counters"]["failures"]:
        tally.faults.append(f"{failures} clients failed")
    return tally


def measure(count: int, seed: int, lifted: bool) -> Tally:
    """Feed a server, and look at what it said."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="frames-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        (home / ".claude/projects").mkdir(parents=True)
        command = [word.replace(SERVE, (LIFTED if lifted else "") + SERVE) for word in serve_command(home, port)]
        with running(command, port, log, environment(home)) as process:
            tally = feed(process, port, home, Maker(seed), count, lifted)
        log.seek(0)
        said = log.read().decode(errors="replace")
    if "Traceback" in said:
        tally.faults.append(f"it said: …{said[-3000:]}")
    return tally


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=1_000_000)
    made.add_argument("--seed", type=int, default=1)
    opts = made.parse_args()
    if opts.smoke:
        opts.count = 5_000
    return opts


def row(name: str, tally: Tally) -> list[str]:
    """A line of the table."""
    second, last, _ = bounded(tally.memory)
    numbers = (tally.messages, tally.frames, tally.bytes >> 20, sum(tally.replies.values()), tally.connections)
    rate = tally.messages / max(tally.seconds, 1e-9)
    memory = [f"{kb / 1024:.1f}" for kb in (second, last, tally.peak_kb)]
    return [name, *(f"{n:,}" for n in numbers), f"{rate:,.0f}", *memory, str(len(tally.faults))]


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    tallies = {
        "rates lifted": measure(opts.count - opts.count // 10, opts.seed, True),
        "as it is": measure(opts.count // 10, opts.seed + 1, False),
    }
    headings = ["server", "messages", "frames", "MiB", "replies", "connections", "messages/s", "RSS MiB: 2nd third"]
    rows = [row(name, tally) for name, tally in tallies.items()]
    print(f"\nhostile frames, seed {opts.seed}\n")
    print(table([*headings, "last third", "peak", "faults"], rows))
    failed = False
    for name, tally in tallies.items():
        print(f"{name}: replies {dict(tally.replies.most_common())}; closes {dict(tally.closes.most_common())}")
        grown = not opts.smoke and not bounded(tally.memory)[2]
        failed |= grown or bool(tally.faults)
        for text in tally.faults[:SHOWN]:
            told(f"FAILED ({name}): {text}")
        if grown:
            told(f"FAILED ({name}): memory grows: {[kb >> 10 for kb in tally.memory]} MiB")
    results = {name: attrs.asdict(tally) | {"memory": tally.memory[-1:]} for name, tally in tallies.items()}
    emit("frames", {"count": opts.count, "seed": opts.seed}, results, opts)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
