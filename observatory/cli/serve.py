"""`observatory serve`: settings → logs → the server; and where a running server is."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import trio

from observatory import app
from observatory.config import Config, default_data_dir, load
from observatory.core.errors import Unreachable
from observatory.storage.opening import running
from observatory.telemetry import logs


def run(flags: Mapping[str, Any]) -> None:
    """Serve until told to stop."""
    config = load(flags)
    sink = logs.configure(config.log_format or logs.format_for(sys.stderr), sys.stderr).sink
    try:
        trio.run(app.serve, config, lambda ready: _tell(config, ready))
    finally:
        sink.close()


def _tell(config: Config, ready: app.Ready) -> None:
    """The ready line, on standard output, where nothing else goes."""
    click.echo(f"observatory is ready at {ready.url}   (watch it: {sys.argv[0]} tail{_same_server(config)})")
    present = [root for root in ready.roots if Path(root).is_dir()]
    if present:
        click.echo(f"watching {', '.join(present)}")
    else:
        wanted = " nor ".join(ready.roots)
        click.echo(f"nothing to watch yet: neither {wanted} exists; it is picked up as soon as Claude Code creates it")
    sys.stdout.flush()


def _same_server(config: Config) -> str:
    return "" if config.data_dir == default_data_dir() else f" --data-dir {config.data_dir}"


def server_url(data_dir: Path | None) -> str:
    """Where the server of a data directory listens. Raises Unreachable."""
    directory = (data_dir or default_data_dir()).absolute()
    found = running(directory)
    if found is None or found.url is None:
        raise Unreachable(f"no server runs on {directory}", "start one with: observatory serve")
    return found.url
