"""`observatory status`: what the running server sees and does."""

from typing import Any

import click
import orjson

from observatory.client.connection import OpenStream, Server, connect, server_at
from observatory.core.client_items import refused
from observatory.core.finding import size
from observatory.core.progress_text import line_of, progress_of


async def run(url: str | Server, as_json: bool) -> None:
    """Ask the server and print. Raises Unreachable, Refused, Closed."""
    status = await ask(url)
    url = server_at(url).url
    if as_json:
        click.echo(orjson.dumps(status, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(lines(url, status)))


async def ask(url: str | Server, open_stream: OpenStream | None = None, request: str = "get_status") -> dict[str, Any]:
    """The data of the server's reply to a request without data. Raises Unreachable, Refused, Closed."""
    async with connect(url, open_stream=open_stream) as connection:
        reply = await connection.request(request)
    if reply.type == "error":
        raise refused(reply)
    data: dict[str, Any] = reply.data
    return data


def lines(url: str, status: dict[str, Any]) -> list[str]:
    """The status in a few lines."""
    position, clients, gauges, watcher = (status[key] for key in ("position", "clients", "gauges", "watcher"))
    text = [
        f"observatory {status['version']} at {url}, up {status['uptime_seconds']:.0f} s",
        f"log      epoch {position['epoch']}, head {position['head']}, oldest {position['oldest']}",
        f"clients  {clients['live']} live, {clients['behind']} behind{_lag(gauges)}, {clients['idle']} idle",
        f"files    {gauges['sources']} known, {gauges['history_waiting']} of the history still to read",
        *_import(status),
        *_search(gauges),
        f"watcher  {watcher['backend']}, {watcher['directories']} directories",
        f"data     {status['data_dir']}{_sizes(gauges)}",
        *(f"root     {root}" for root in status["roots"]),
    ]
    sick = [c for c in status["components"] if c["status"] != "ok"]
    return [*text, *(f"{c['status']:<8} {c['component_name']}: {c['details']}" for c in sick)]


def _import(status: dict[str, Any]) -> list[str]:
    progress = progress_of(status.get("import", {}))  # an older server does not tell
    return [f"import   {line_of(progress)}"] if progress.running else []


def _sizes(gauges: dict[str, Any]) -> str:
    if "data_dir_bytes" not in gauges:  # an older server does not tell
        return ""
    parts = [size(gauges["data_dir_bytes"]), f"archive {size(gauges['database_bytes'])}"]
    parts += [f"search index {size(gauges['search_bytes'])}", f"{size(gauges['disk_free_bytes'])} free"]
    return f": {', '.join(parts)}"


def _search(gauges: dict[str, Any]) -> list[str]:
    lag = gauges.get("search_lag_records", 0)  # an older server does not tell
    return [f"search   {lag:,} records are not in the index yet"] if lag else []


def _lag(gauges: dict[str, Any]) -> str:
    lag = gauges.get("client_lag_events", 0)  # an older server does not tell
    return f" (by up to {lag:,} events)" if lag else ""
