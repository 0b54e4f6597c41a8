"""The dashboard in headless Chromium: when it can be used, when a line is on the screen, how smoothly it scrolls.

    python -m tests.bench.dashboard [--mib 1024] [--opens 7] [--lines 300] [--records 50000] [--samples DIR] [--smoke]

open: from the navigation until the sessions of an imported history are shown and the page is live. visible: from just
before the write(2) of a line until the page's own observer sees its text, in an open conversation. big: a conversation
of so many records: until its end is shown; the longest frame while it scrolls. assets: bytes, gzipped.
"""

import argparse
import gzip
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from observatory.api.site import BUILT
from tests.bench.facts import emit, parser, told
from tests.bench.figures import median, quantile, shown, table
from tests.bench.history_corpus import make
from tests.driving import Tab, driving
from tests.running import Server, free_port, serving
from tests.web.big import lines

FLOORS = {"open_ms": 1500.0, "visible_p95_ms": 80.0, "big_open_ms": 2000.0, "longest_frame_ms": 80.0,
          "assets": 250 * 1024.0}  # fmt: skip
GOALS = {"open_ms": 1000.0, "visible_p95_ms": 50.0, "big_open_ms": 1500.0, "longest_frame_ms": 50.0,
         "assets": 150 * 1024.0}  # fmt: skip
PAUSES = (0.03, 0.12)  # seconds between lines
# Before any script of the page: when an expression becomes true is written down at the change that makes it so.
WATCH = """
window.__when = null;
const look = () => { if (window.__when === null && (%s)) window.__when = performance.now(); };
new MutationObserver(look).observe(document, {childList: true, subtree: true, characterData: true, attributes: true});
"""
SESSIONS = "document.querySelector('#sessions > li') && document.querySelector('header .isLive')"
LINES = """
window.__seen = {};
new MutationObserver(() => {
  const now = performance.timeOrigin + performance.now();
  for (const one of document.querySelector('#timeline')?.innerText.matchAll(/mark (\\d+) end/g) ?? [])
    window.__seen[one[1]] ??= now;
}).observe(document, {childList: true, subtree: true, characterData: true});
"""
SCROLL = """
new Promise(done => {
  const view = document.querySelector('#timeline');
  const frames = [];
  let last = performance.now(), began = last, count = 0;
  const step = now => {
    frames.push(now - last);
    last = now;
    count += 1;
    if (count % 90 == 0) view.scrollTop = view.scrollHeight * ((count * 7) % 100) / 100;
    else view.scrollTop -= 240;
    if (now - began < SECONDS * 1000) requestAnimationFrame(step);
    else done(frames.slice(1));
  };
  requestAnimationFrame(step);
})
"""


@asynccontextmanager
async def browser(script: str) -> AsyncIterator[Tab]:
    """A browser of its own, with nothing in its cache. script: runs before those of each page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with driving(Path(profile)) as tab:
            await tab.do("Page.addScriptToEvaluateOnNewDocument", source=script)
            yield tab


def web(server: Server) -> str:
    """Where its pages are."""
    return server.url.replace("ws", "http", 1).removesuffix("/ws")


async def imported(server: Server) -> None:
    """Until all history is in, and the index has it."""
    async with httpx.AsyncClient(timeout=60) as http:
        while True:
            told = (await http.get(f"{web(server)}/api/v1/status")).json()
            if not told["import"]["running"] and told["import"]["records"] and not told["gauges"]["search_lag_records"]:
                return
            await trio.sleep(0.5)


async def time_to(url: str, script: str) -> float:
    """ms from a navigation until an expression is true, by the page's clock."""
    async with browser(WATCH % script) as tab:
        await tab.do("Page.navigate", url=url)
        await tab.until("window.__when !== null && window.__when !== undefined")
        return float(await tab.value("window.__when"))


async def opens(opts: argparse.Namespace, home: Path) -> dict[str, Any]:
    """The first view over a history of so many MiB."""
    corpus = make(opts.samples, home, opts.mib * 1024 * 1024)
    told(f"{corpus.files:,} files, {corpus.size >> 20:,} MiB")
    async with serving(corpus.projects, home / "data", free_port()) as server:
        await imported(server)
        took = [await time_to(f"{web(server)}/", SESSIONS) for _ in range(opts.opens)]
    return {"open_ms": median(took), "open_all_ms": [round(one) for one in took]}


async def visible(opts: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Lines of one conversation on the screen."""
    path = home / "projects" / "-w" / "live.jsonl"
    path.parent.mkdir(parents=True)
    written: dict[str, float] = {}
    with path.open("ab", buffering=0) as file:
        file.writelines(one + b"\n" for one in lines(200, "live"))
        async with serving(home / "projects", home / "data", free_port()) as server, browser(LINES) as tab:
            await imported(server)
            await tab.open(f"{web(server)}/c/live")
            await tab.until(
                "!!document.querySelector('#timeline [data-record]') && !!document.querySelector('.isLive')"
            )
            for number, line in enumerate(lines(opts.lines, "live", "mark {} end", first=200)):
                await trio.sleep(random.uniform(*PAUSES))
                written[str(200 + number)] = time.time() * 1000
                file.write(line + b"\n")
            await tab.until(f"Object.keys(window.__seen).length >= {opts.lines}")
            seen = await tab.value("window.__seen")
    took = [seen[number] - at for number, at in written.items()]
    return {"visible_p50_ms": quantile(took, 0.5), "visible_p95_ms": quantile(took, 0.95), "visible_max_ms": max(took)}


async def big(opts: argparse.Namespace, home: Path) -> dict[str, Any]:
    """A long conversation."""
    path = home / "projects" / "-big" / "big.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.writelines(one + b"\n" for one in lines(opts.records, "big"))
    end = f"document.querySelector('#timeline')?.innerText.includes('text {opts.records - 1} of')"
    async with serving(home / "projects", home / "data", free_port()) as server:
        await imported(server)
        took = [await time_to(f"{web(server)}/c/big", end) for _ in range(opts.opens)]
        async with browser("") as tab:
            await tab.open(f"{web(server)}/c/big")
            await tab.until(end)
            frames = await tab.value(SCROLL.replace("SECONDS", str(opts.scroll)))
            nodes = await tab.value("document.querySelectorAll('#timeline .item').length")
    return {"big_open_ms": median(took), "longest_frame_ms": max(frames), "frame_p99_ms": quantile(frames, 0.99),
            "frames": len(frames), "rows_in_the_page": nodes}  # fmt: skip


def assets() -> dict[str, Any]:
    """What a browser loads."""
    files = [BUILT / "index.html", *(BUILT / "assets").iterdir()]
    return {"assets": sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)}


async def measure(opts: argparse.Namespace) -> dict[str, Any]:
    """All of it, each over a directory of its own."""
    found: dict[str, Any] = assets()
    for part in (visible, big, opens):
        with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
            found |= await part(opts, Path(folder))
        told(str(found))
    return found


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--mib", type=float, default=1024.0)
    made.add_argument("--opens", type=int, default=7)
    made.add_argument("--lines", type=int, default=300)
    made.add_argument("--records", type=int, default=50_000)
    made.add_argument("--scroll", type=float, default=8.0, help="seconds")
    samples = Path(os.environ.get("OBSERVATORY_SAMPLES", "../shared/transcripts"))
    made.add_argument("--samples", type=Path, default=samples)
    opts = made.parse_args()
    if opts.smoke:
        opts.mib, opts.opens, opts.lines, opts.records, opts.scroll = 8.0, 1, 20, 2000, 1.0
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    found = trio.run(measure, opts)
    rows = [[name, shown(found[name]), shown(floor), shown(GOALS[name])] for name, floor in FLOORS.items()]
    print(table(["figure", "measured", "floor", "goal"], rows))
    emit("dashboard", {name: getattr(opts, name) for name in ("mib", "opens", "lines", "records")}, found, opts)
    bad = [name for name, floor in FLOORS.items() if found[name] > floor]
    for name in bad:
        told(f"FAILED: {name}")
    sys.exit(1 if bad and not opts.smoke else 0)


if __name__ == "__main__":
    main()
