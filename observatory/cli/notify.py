"""`observatory notify test`: one notice through every way that is configured, and how that went."""

import time
from functools import partial

import click
import trio
from httpx import AsyncClient

from observatory.config import load
from observatory.core.errors import StoreError, UsageError
from observatory.core.neutral import neutral
from observatory.core.notices import Notice
from observatory.notify.ways import Failed, deliver
from observatory.notifying import ways_of


def run() -> None:
    """Send it. Raises UsageError: there is no way. StoreError: one of them failed."""
    failed = trio.run(partial(_send, Notice("finished", "this is a test notice", time.time())))
    if failed:
        raise StoreError(f"{failed} of them failed", "see docs/notifications.md")


async def _send(notice: Notice) -> int:
    config, failed = load({}), 0
    async with AsyncClient(follow_redirects=False) as client:
        ways = ways_of(config, client)
        if not ways:
            raise UsageError("no way is configured: set notify_desktop or notify_webhooks; see docs/notifications.md")
        for way in ways:
            try:
                await deliver(way, notice, attempts=1)
                click.echo(f"{neutral(way.name)}: sent")
            except Failed as failure:
                failed += 1
                click.echo(f"{neutral(way.name)}: {neutral(str(failure))}")
    return failed
