"""A real browser, for what only a browser does: sending Origin, keeping cookies out of scripts. Needs chromium."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from urllib.parse import unquote

import attrs
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
         "--no-first-run", "--disable-extensions")  # fmt: skip
DEADLINE = 60.0


def chromium() -> str:
    """The browser; without one the test is skipped, in CI it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: install the package chromium")
        pytest.skip("no chromium here: install the package chromium to run this")
    return found


def needed(program: str, package: str) -> str:
    """A program's path; without it the test is skipped, in CI it fails."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"no {program}: install the package {package}")
        pytest.skip(f"no {program} here: install the package {package} to run this")
    return found


def dom_of(url: str, profile: Path) -> str:
    """A page as it was loaded."""
    done = subprocess.run(
        [chromium(), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True, text=True, timeout=DEADLINE, check=True,
    )  # fmt: skip
    return done.stdout


@attrs.define(eq=False)
class Page:
    """One page, served on a port of its own, which makes it another origin. Its script tells by fetching /said/…"""

    html: str
    port: int = 0
    said: "Queue[str]" = attrs.field(factory=Queue)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visit(self, profile: Path) -> str:
        """What its script says in a browser."""
        with subprocess.Popen(
            [chromium(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", f"{self.origin}/page"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as browser:  # fmt: skip
            try:
                return self.said.get(timeout=DEADLINE)
            finally:
                browser.terminate()


@contextmanager
def served(page: Page) -> Iterator[Page]:
    """Serve the page while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, said = self.path.removeprefix("/").partition("/")
            if kind == "said":
                page.said.put(unquote(said))
            self.send_response(200 if kind in ("page", "said") else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.html.encode() if kind == "page" else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        page.port = server.server_address[1]
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield page
        finally:
            server.shutdown()
            thread.join()
