"""Search: how fast a large history is indexed, how large the index is, and how long queries and pages take.

    python -m tests.bench.search [--gigabytes 1.0] [--live] [--smoke] [--json FILE]

--live: what clients notice of the indexing in a server: lines of a live session at rest, and meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from observatory.core.search_page import Search
from observatory.storage.conversations import ConversationReader, Stored, conversations
from observatory.storage.search import SearchReader, searching
from observatory.storage.search_steps import SEARCH, drop
from tests.bench.facts import emit, parser, told
from tests.bench.figures import quantile, table
from tests.bench.history_corpus import Corpus, make
from tests.bench.history_runs import Run, _run, import_command
from tests.bench.processes import ROOT, NotMeasured, environment
from tests.bench.search_queries import COMMON, EXACT, QUERIES
from tests.ingest.growing import SAMPLES

MB = 1_000_000
ROUNDS = 3  # of the queries; the median of each counts
PAGE_RECORDS = 200
FLOORS = {"mb_per_s": 100.0, "size": 0.2, "p95_ms": 60.0, "common_ms": 200.0, "page_ms": 20.0}
INDEX = "import sys; from pathlib import Path; from observatory.storage.search_index import SearchIndex;" \
        " i = SearchIndex(Path(sys.argv[1])); i.catch_up(); i.settle()"  # fmt: skip


def measure(opts: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Import, index, ask."""
    corpus = make(SAMPLES, home, opts.gigabytes * 1e9)
    told(f"{corpus.size / MB:,.0f} MB in {corpus.files:,} files")
    subprocess.run(
        import_command(corpus.projects, home / "data"),
        cwd=ROOT,
        env=environment(home),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    run = _index(corpus, home)
    found: dict[str, Any] = {
        "mb_per_s": round(corpus.size / MB / run.seconds, 1),
        "memory": run.memory,
        "size": round((home / "data" / SEARCH).stat().st_size / corpus.size, 3),
        **_asked(home / "data"),
        "live": _live(home, opts.smoke) if opts.live else None,
    }
    return found


def _index(corpus: Corpus, home: Path) -> Run:
    drop(home / "data")
    return _run(
        [sys.executable, "-c", INDEX, str(home / "data")], {**environment(home), "PYTHONPATH": str(ROOT)}, home / "data"
    )


def _asked(data: Path) -> dict[str, Any]:
    with searching(data) as reader:
        mix = _timed(reader, QUERIES)
        common = _timed(reader, COMMON)
        exact = _timed(reader, EXACT, rounds=1)
    hits = sum(many for _, many in mix)
    return {
        "p50_ms": _ms(mix, 0.5), "p95_ms": _ms(mix, 0.95), "max_ms": _ms(mix, 1.0), "hits": hits,
        "common_ms": _ms(common, 1.0), "exact_max_ms": _ms(exact, 1.0), "page_ms": _page(data),
    }  # fmt: skip


def _timed(reader: SearchReader, queries: Iterable[Search], rounds: int = ROUNDS) -> list[tuple[float, int]]:
    """Seconds (the median of the rounds) and hits of each."""
    found = []
    for query in queries:
        laps, total = [], 0
        for _ in range(rounds):
            laps.append(_seconds(partial(reader.search, query)))
            total = reader.search(query).total if rounds == 1 else total
        found.append((quantile(laps, 0.5), total or reader.search(query).total))
    return found


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _ms(laps: list[tuple[float, int]], q: float) -> float:
    return round(quantile([seconds for seconds, _ in laps], q) * 1e3, 1)


def _page(data: Path) -> float:
    """A page of a conversation's records, the median over fifty conversations."""
    with conversations(data) as reader:
        query = "SELECT id FROM conversations ORDER BY json_extract(body, '$.message_count') DESC LIMIT 50"
        ids = [id for (id,) in reader._db.execute(query)]
        laps = [_seconds(partial(_first_records, reader, id)) for id in ids]
    return round(quantile(laps, 0.5) * 1e3, 1)


def _first_records(reader: ConversationReader, id: str) -> list[Stored]:
    return list(islice(reader.records(id), PAGE_RECORDS))


def _live(home: Path, smoke: bool) -> dict[str, Any]:
    drop(home / "data")
    argv = [sys.executable, "-m", "tests.bench.search_live", "--home", str(home), "--lines", "50" if smoke else "300"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise NotMeasured(done.stderr[-500:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def failures(found: dict[str, Any]) -> list[str]:
    """Floors that do not hold."""
    more = {"mb_per_s"}
    bad = [name for name, floor in FLOORS.items() if (found[name] < floor if name in more else found[name] > floor)]
    if found["live"] and found["live"]["during"]["p99_ms"] > 5.0:
        bad.append("live p99")
    return bad


def main() -> None:
    """Print the table and the JSON line."""
    made = parser(__doc__)
    made.add_argument("--gigabytes", type=float, default=1.0)
    made.add_argument("--live", action="store_true", help="what clients notice of the indexing, too")
    made.add_argument("--directory", type=Path, help="where the data goes (default: a temporary directory)")
    opts = made.parse_args()
    if opts.smoke:
        opts.gigabytes = 0.015
    if not SAMPLES.is_dir():
        made.error(f"there are no sample transcripts at {SAMPLES}; set OBSERVATORY_SAMPLES")
    with tempfile.TemporaryDirectory(prefix="search-", dir=opts.directory) as folder:
        found = measure(opts, Path(folder))
    rows = [[name, str(found[name]), str(FLOORS.get(name, ""))] for name in found if name not in ("live", "memory")]
    rows.append(["peak PSS MB", str(round(found["memory"] / MB)), ""])
    print(f"\n{table(['', 'measured', 'floor'], rows)}")
    if found["live"]:
        print(f"\nlive: {found['live']}")
    emit("search", {"gigabytes": opts.gigabytes}, found, opts)
    bad = [] if opts.smoke else failures(found)
    for line in bad:
        told(f"FAILED: {line}")
    if opts.smoke and not found["hits"]:
        told("FAILED: nothing was found")
        bad.append("hits")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
