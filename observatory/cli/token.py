"""`observatory token`: where the token is, a link for browsers, a new token."""

import secrets
import time
from urllib.parse import urlsplit

import click
import trio

from observatory.cli.place import Where
from observatory.client.connection import Server, connect
from observatory.core.client_items import Refused
from observatory.core.login import LINK_SECONDS, LOGIN, NONCE_BYTES, mint
from observatory.storage.token import read, replace

WEB = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


def run(where: Where, *, link: bool, rotate: bool) -> None:
    """The command. Raises UsageError, WorldError."""
    path = where.token_path()
    if rotate:
        replace(path)
        _tell_server(where)
        click.echo(f"a new token is in {path}", err=link)
    if link:
        click.echo(link_of(where.server().url, read(path)))
        click.echo(f"observatory: open it in a browser, once, within {LINK_SECONDS:.0f} seconds", err=True)
    elif not rotate:
        read(path)
        click.echo(path)


def link_of(url: str, token: str) -> str:
    """A one-time link to a server. url: of its WebSocket."""
    parts = urlsplit(url)
    code = mint(token, time.time(), secrets.token_bytes(NONCE_BYTES))
    return f"{WEB[parts.scheme]}://{parts.netloc}{LOGIN}{code}"


def _tell_server(where: Where) -> None:
    """A server looks at its token file when somebody connects; so it closes the others now, and not some time."""
    server = where.find()
    if server is not None:
        trio.run(_knock, server)


async def _knock(server: Server) -> None:
    try:
        async with connect(server):
            pass
    except Refused as error:
        raise Refused(f"the token was replaced, but the server at {server.url} does not take it: {error.message}",
                      "is that its token file?", False, error.status, error.code) from None  # fmt: skip
