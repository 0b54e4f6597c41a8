"""Facts: what a result was measured on, and the options and the output that all benches share."""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT

PACKAGES = ("trio", "trio-websocket", "msgspec", "orjson")
CTRL_DAEMON = "node/node_modules/@bulletproof-sh/ctrl-daemon"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benches have."""
    made = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    made.add_argument("--smoke", action="store_true", help="tiny sizes: does it run at all? The numbers mean nothing")
    made.add_argument("--json", type=Path, metavar="FILE", help="append the JSON line to FILE as well")
    return made


def add_peers(made: argparse.ArgumentParser) -> None:
    """The option that says where the peers are."""
    default = Path(os.environ["BENCH_PEERS"]) if os.environ.get("BENCH_PEERS") else None
    made.add_argument(
        "--peers", type=Path, default=default, metavar="DIR", help="as filled by tests.bench.peers [$BENCH_PEERS]"
    )


def told(line: str) -> None:
    """Progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def emit(bench: str, sizes: dict[str, Any], results: dict[str, Any], opts: argparse.Namespace) -> None:
    """One JSON line with everything."""
    line = json.dumps({"bench": bench, **machine(getattr(opts, "peers", None)), "sizes": sizes, "results": results})
    print(f"\n{line}")
    if opts.json is not None:
        with opts.json.open("a") as file:
            file.write(line + "\n")


def machine(peers: Path | None) -> dict[str, Any]:
    """Machine, date, commit and versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "observatory", "actors")),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "kernel": platform.release()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}, **_of(peers)},
    }


def _of(peers: Path | None) -> dict[str, str]:
    if peers is None:
        return {}
    found = {}
    for name in ("websockets", "agentsview"):
        for metadata in peers.glob(f"peers/lib/python3*/site-packages/{name}-*.dist-info"):
            found[f"peer {name}"] = metadata.name.removesuffix(".dist-info").partition("-")[2]
    package = peers / CTRL_DAEMON / "package.json"
    if package.exists():
        found["ctrl-daemon"] = str(json.loads(package.read_text())["version"])
    return found


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
