"""What notices need of this installation: its settings, its prices, its name. Loaded only where notices are wanted."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import trio
from httpx import AsyncClient, Limits

from observatory import __version__, pricing
from observatory.config import Config
from observatory.core.calendar import Calendar
from observatory.core.contracts import Report
from observatory.core.errors import WorldError
from observatory.core.notices import Notices, Spending
from observatory.core.ports import EventSource
from observatory.core.pricing import PICO
from observatory.core.stats import distinct, tally
from observatory.core.stats_query import Query, message_key
from observatory.notify.notifier import Notifier
from observatory.notify.ways import Desktop, Way, Webhook, checked
from observatory.storage.statistics import statistics

LIMITS = Limits(max_connections=8)


@asynccontextmanager
async def running(config: Config, events: EventSource, report: Report) -> AsyncIterator[Notifier]:
    """Notices go out while the block runs. Raises UsageError, WorldError."""
    async with AsyncClient(follow_redirects=False, limits=LIMITS) as client:
        ways = ways_of(config, client)
        spending = None if config.budget_usd is None else Spending(config.budget_usd)
        spent = None if spending is None else partial(trio.to_thread.run_sync, partial(spent_now, config))
        notifier = Notifier(events, ways, Notices(frozenset(config.notify_kinds)), time.time, report, spending, spent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            yield notifier
            nursery.cancel_scope.cancel()


def ways_of(config: Config, client: AsyncClient) -> list[Way]:
    """The ways that are configured. Raises UsageError: an address is none. WorldError: the secret cannot be read."""
    secret = None
    if config.webhook_secret_file is not None:
        try:
            secret = config.webhook_secret_file.read_bytes().strip()
        except OSError as error:
            what = f"{config.webhook_secret_file} cannot be read ({error.strerror})"
            raise WorldError(what, "make it readable for this user, or name another in webhook_secret_file") from None
    about = {"machine": socket.gethostname(), "version": __version__}
    ways: list[Way] = [Desktop()] if config.notify_desktop else []
    return [*ways, *(Webhook(checked(url), secret, about, time.time, client) for url in config.notify_webhooks)]


def spent_now(config: Config) -> tuple[str, float]:
    """The budget's period that runs, and what was spent in it, in USD. Raises StoreError."""
    calendar = Calendar(None)
    period = calendar.key(config.budget_period, datetime.now(UTC).isoformat())
    key = message_key(Query(config.budget_period), calendar, {})
    with statistics(config.data_dir) as reader:
        found = tally(distinct(reader.usage()), key, pricing.load()).get(period)
    return period, 0.0 if found is None else found.cost / PICO
