"""`observatory serve`: settings → logs → the server; and where a running server is."""

import sys
import webbrowser
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import click
import trio

from observatory import app
from observatory.config import TOKEN, Config, default_data_dir, default_token_file, load
from observatory.core.setting_values import retention_of
from observatory.telemetry import logs


def run(flags: Mapping[str, Any]) -> None:
    """Serve until told to stop."""
    bounds = flags.get("event_retention")
    given = {name: value for name, value in flags.items() if name not in ("event_retention", "open")}
    config = load(given if bounds is None else {**given, **retention_of(bounds)})
    sink = logs.configure(config.log_format or logs.format_for(sys.stderr), sys.stderr).sink
    try:
        tell = partial(_tell, config, browser=bool(flags.get("open")))
        trio.run(app.serve, config, tell, lambda: sink.dropped)
    finally:
        sink.close()


def _tell(config: Config, ready: app.Ready, *, browser: bool) -> None:
    """The ready line, on standard output, where nothing else goes. browser: show the dashboard in one."""
    page = page_of(ready.url)
    click.echo(f"observatory is ready at {ready.url}   (watch it: {sys.argv[0]} tail{_same_server(config)})")
    click.echo(f"open {page} in a browser")
    present = [root for root in ready.roots if Path(root).is_dir()]
    if present:
        click.echo(f"watching {', '.join(present)}")
    else:
        wanted = " nor ".join(ready.roots)
        click.echo(f"nothing to watch yet: neither {wanted} exists; it is picked up as soon as Claude Code creates it")
    if config.auth == "token":
        link = f"{sys.argv[0]} token --link{_same_server(config)}"
        click.echo(f"clients need the token in {config.token_file}   (a link for a browser: {link})")
    sys.stdout.flush()
    if browser:
        from observatory.cli.token import link_of
        from observatory.storage.token import read

        link = link_of(ready.url, read(config.token_file)) if config.auth == "token" else page
        Thread(target=_open, args=(link,), daemon=True).start()  # some browsers are waited for


def page_of(url: str) -> str:
    """The dashboard's address. url: of the WebSocket."""
    return f"{url.replace('ws', 'http', 1).removesuffix('/ws')}/"


def _open(link: str) -> None:
    if not webbrowser.open(link):
        click.echo(f"no browser was found; open {link} in one", err=True)


def _same_server(config: Config) -> str:
    place = "" if config.data_dir == default_data_dir() else f" --data-dir {config.data_dir}"
    usual = default_token_file() or config.data_dir / TOKEN
    return place if config.auth == "none" or config.token_file == usual else f"{place} --token-file {config.token_file}"
