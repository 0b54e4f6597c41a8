"""`observatory notify test`, and a server that notifies."""

import http.server
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from observatory.cli.main import main
from observatory.config import load
from observatory.notifying import spent_now
from tests.cli.keeping import NEW, imported, write
from tests.cli.test_tag import serving


class Hook(http.server.BaseHTTPRequestHandler):
    got: list[bytes]

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("OneHook", (Hook,), {"got": got}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def ran(**settings: str) -> Result:
    environ = {
        "OBSERVATORY_CONFIG": os.devnull,
        **{f"OBSERVATORY_{name.upper()}": text for name, text in settings.items()},
    }
    return CliRunner().invoke(main, ["notify", "test"], env=environ)


def test_each_way_says_how_it_went(hook: tuple[str, list[bytes]], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    done = ran(notify_webhooks=f"{hook[0]},http://127.0.0.1:9/", webhook_secret_file=str(tmp_path / "secret"))
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first.endswith(": sent")
    assert second == "127.0.0.1:9: ConnectError"
    assert orjson.loads(hook[1][0])["text"] == "this is a test notice"


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({}, 2, "no way is configured"),
        ({"notify_webhooks": "http://example.org/"}, 2, "has to begin with https://"),
        ({"notify_webhooks": "https://x/", "webhook_secret_file": "/nowhere"}, 1, "/nowhere cannot be read"),
        ({"notify_kinds": "boredom"}, 2, "knows no 'boredom'"),
    ],
)
def test_a_mistake_is_one_line(settings: dict[str, str], code: int, told: str) -> None:
    done = ran(**settings)
    assert done.exit_code == code
    assert told in done.stderr.splitlines()[-1]


def test_a_server_tells_of_an_error_and_of_a_budget(
    hook: tuple[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "aaaaaaaa-1", 2, NEW)
    imported(tmp_path)
    monkeypatch.setenv("OBSERVATORY_NOTIFY_WEBHOOKS", hook[0])
    with serving(tmp_path):
        path = tmp_path / "root/projects/-w/aaaaaaaa-1.jsonl"
        found = {"type": "assistant", "uuid": "e1", "sessionId": "aaaaaaaa-1", "isApiErrorMessage": True,
                 "message": {"role": "assistant", "content": "overloaded"}}  # fmt: skip
        with path.open("ab") as file:
            file.write(orjson.dumps(found) + b"\n")
        for _ in range(200):
            if hook[1]:
                break
            threading.Event().wait(0.05)
        assert orjson.loads(hook[1][0])["kind"] == "error"


def test_what_was_spent_today_is_what_the_archive_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.{:03}Z")
    path = write(tmp_path, "aaaaaaaa-1", 1, today)
    message = {"id": "m9", "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
               "usage": {"input_tokens": 100_000, "output_tokens": 0}}  # fmt: skip
    found = {
        "type": "assistant",
        "uuid": "a9",
        "sessionId": "aaaaaaaa-1",
        "timestamp": today.format(5),
        "message": message,
    }
    with path.open("ab") as file:
        file.write(orjson.dumps(found) + b"\n")
    imported(tmp_path)
    config = load({"data_dir": str(tmp_path / "data")}, {"OBSERVATORY_CONFIG": os.devnull, "HOME": str(tmp_path)})
    period, spent = spent_now(config)
    assert len(period) == 10
    assert spent == pytest.approx(0.3)
