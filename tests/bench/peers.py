"""Peers: install what the benches compare with, by ordinary package names, into a directory outside the repository.

    python -m tests.bench.peers DIR

Then give the benches `--peers DIR`, or set BENCH_PEERS. A peer that does not install is left out of the tables.
"""

import argparse
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.bench.processes import ROOT

PYTHON_PEERS = ("websockets", "agentsview")  # an environment of its own: a dependency of ours holds an older one
NODE_PEERS = ("@bulletproof-sh/ctrl-daemon",)


def install(directory: Path) -> list[str]:
    """Install all; returns what could not be."""
    return [*_python_peers(directory / "peers"), *_node_peers(directory / "node")]


def _python_peers(environment: Path) -> list[str]:
    if not (environment / "bin/python").exists():
        venv.create(environment, with_pip=True)
    pip = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--upgrade"]
    return [package for package in PYTHON_PEERS if not _done([*pip, package], environment)]


def _node_peers(folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed (Node 20 or later has it)", file=sys.stderr)
        return list(NODE_PEERS)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"private": true}\n')
    add = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    return [package for package in NODE_PEERS if not _done([*add, package], folder)]


def _done(argv: Sequence[object], folder: Path) -> bool:
    return subprocess.run([str(word) for word in argv], cwd=folder).returncode == 0


def main() -> None:
    """Install, and tell what is missing."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("directory", type=Path, metavar="DIR")
    directory = made.parse_args().directory.absolute()
    if directory.is_relative_to(ROOT):
        made.error(f"choose a directory outside the repository {ROOT}")
    missing = install(directory)
    for package in missing:
        print(f"not installed: {package}", file=sys.stderr)
    print(f"peers are in {directory}; use --peers {directory} or BENCH_PEERS={directory}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
