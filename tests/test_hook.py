"""`observatory-hook`: what a hook of Claude Code runs. It never fails, and says nothing."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import attrs
import httpx
import pytest
import trio

from tests.api.stage import TWO, staged
from tests.certificates import certificates
from tests.test_architecture import ROOT

EVENT = {"hook_event_name": "Stop", "session_id": TWO, "cwd": "/v"}
MAIN = "import sys; sys.argv[0] = 'observatory-hook'; from observatory.hook import main; main()"
GOOD = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


def run(directory: Path | str, body: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-c", MAIN, "--data-dir", str(directory), *more]
    return subprocess.run(words, input=body, capture_output=True, timeout=20, check=False, cwd=ROOT)


@attrs.define(eq=False)
class Peer:
    """A stand-in for the server: it notes what comes, and answers as it is told."""

    answers: list[bytes]
    port: int = 0
    heard: list[bytes] = attrs.field(factory=list)

    def serve(self, listener: socket.socket) -> None:
        for answer in self.answers:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received or len(received.split(b"\r\n\r\n")[1]) < _length(received):
                    received += connection.recv(65536)
                self.heard.append(received)
                if answer:
                    connection.sendall(answer)


def _length(received: bytes) -> int:
    return int(received.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


@contextmanager
def answering(directory: Path, *answers: bytes) -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer(list(answers), listener.getsockname()[1])
        (directory / "server.json").write_text(json.dumps({"pid": 1, "url": f"ws://127.0.0.1:{peer.port}/ws"}))
        thread = Thread(target=peer.serve, args=(listener,))
        thread.start()
        try:
            yield peer
        finally:
            thread.join(10)


def silent(done: subprocess.CompletedProcess[bytes]) -> bool:
    return (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_event_is_posted_as_it_came_with_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("k" * 20 + "\n")
    body = json.dumps(EVENT).encode()
    with answering(tmp_path, GOOD) as peer:
        assert silent(run(tmp_path, body))
    head, sent = peer.heard[0].split(b"\r\n\r\n")
    assert sent == body
    assert head.startswith(b"POST /api/v1/events HTTP/1.1\r\n")
    assert b"Authorization: Bearer " + b"k" * 20 in head
    assert not (tmp_path / "hooks.log").exists()


def test_a_connection_that_was_cut_is_tried_once_more_under_the_same_key(tmp_path: Path) -> None:
    with answering(tmp_path, b"", GOOD) as peer:
        assert silent(run(tmp_path, b"{}"))
    keys = {line for heard in peer.heard for line in heard.split(b"\r\n") if line.startswith(b"Idempotency-Key")}
    assert (len(peer.heard), len(keys)) == (2, 1)
    assert not (tmp_path / "hooks.log").exists()


@pytest.mark.parametrize(
    ("answers", "noted"),
    [
        ((b"HTTP/1.1 401 Unauthorized\r\n\r\n",), "the server answered 401"),
        ((b"", b""), "EOFError"),
        ((b"nonsense\r\n\r\n",), "IndexError"),
    ],
)
def test_what_goes_wrong_stands_in_a_log_of_its_own(tmp_path: Path, answers: tuple[bytes, ...], noted: str) -> None:
    with answering(tmp_path, *answers):
        assert silent(run(tmp_path, b"{}"))
    log = tmp_path / "hooks.log"
    assert noted in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_where_nobody_listens_nothing_happens_but_a_line(tmp_path: Path) -> None:
    assert silent(run(tmp_path, b"{}"))
    assert silent(run(tmp_path / "nowhere", b"{}"))
    (tmp_path / "server.json").write_text("")
    assert silent(run(tmp_path, b"{}"))
    assert not (tmp_path / "hooks.log").exists()
    (tmp_path / "server.json").write_text('{"pid": 1, "url": "ws://127.0.0.1:9/ws"}')
    assert silent(run(tmp_path, b"{}"))
    assert "ConnectionRefusedError" in (tmp_path / "hooks.log").read_text()
    assert silent(run(tmp_path, b"x" * 1_100_000))  # more than anyone reads
    assert silent(subprocess.run([sys.executable, "-c", MAIN], input=b"{}", capture_output=True, cwd=ROOT, check=False))


def test_the_log_is_begun_anew_when_it_is_long(tmp_path: Path) -> None:
    log = tmp_path / "hooks.log"
    log.write_text("old line\n" * 10_000)
    (tmp_path / "server.json").write_text('{"pid": 1, "url": "ws://127.0.0.1:9/ws"}')
    assert silent(run(tmp_path, b"{}"))
    assert len(log.read_text().splitlines()) == 1


async def test_a_server_keeps_and_tells_what_it_hands_over(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        on.monitor.announce(f"ws://127.0.0.1:{on.port}/ws")
        done = await trio.to_thread.run_sync(run, on.monitor.data_dir, json.dumps(EVENT).encode())
        assert silent(done)
        (kept,) = (await on.get(f"/conversations/{TWO}/hooks"))["hooks"]
        assert kept["payload"] == EVENT


async def test_over_tls_that_very_certificate_is_trusted(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certificates")
    token = tmp_path / "the-token"
    token.write_text("k" * 20)
    async with staged(tmp_path, tls=made.server, token=lambda: "k" * 20) as on:
        on.monitor.announce(f"wss://localhost:{on.port}/ws", str(made.certificate))
        body = json.dumps(EVENT).encode()
        done = await trio.to_thread.run_sync(run, on.monitor.data_dir, body, "--token-file", str(token))
        assert silent(done)
        assert not (on.monitor.data_dir / "hooks.log").exists()
        http = httpx.AsyncClient(verify=made.client, headers={"Authorization": f"Bearer {'k' * 20}"})
        async with http:
            kept = (await http.get(f"https://localhost:{on.port}/api/v1/conversations/{TWO}/hooks")).json()["hooks"]
        assert [row["payload"] for row in kept] == [EVENT]


def test_it_loads_little() -> None:
    code = "import sys\nbefore = set(sys.modules)\nimport observatory.hook\nprint(*sorted(set(sys.modules) - before))"
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    words = [sys.executable, "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=plain)
    loaded = set(done.stdout.split())
    assert "socket" in loaded
    assert loaded.isdisjoint({"json", "ssl", "http.client", "argparse", "logging", "asyncio", "trio", "attrs", "attr"})
