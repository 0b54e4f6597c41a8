"""`observatory tail`: what happens, as it happens; for people, or with --json for programs."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, TextIO

import attrs

from observatory.cli.lookup import topics_of
from observatory.cli.notices import Notices
from observatory.cli.terminal import Printer
from observatory.client.connection import OpenStream, Server, connect
from observatory.client.follow import follow
from observatory.core.client_items import Event, Item, Snapshot
from observatory.core.events import Position
from observatory.core.neutral import neutral_json
from observatory.core.where_text import Tree, with_names

DEFAULT_TOPICS = ("all_conversations",)
FOR_PEOPLE = ("all_conversations", "project_updates")  # the latter for the names of new projects; not printed


class Output(Protocol):
    """Where events go."""

    def learn(self, snapshot: Snapshot) -> None: ...

    def print(self, event: Event) -> bool:
        """Whether there was anything to print."""
        ...


@attrs.frozen
class JsonLines:
    """Each envelope as the server sent it, one line each; only what could command a terminal is escaped."""

    _out: TextIO

    def learn(self, snapshot: Snapshot) -> None:
        """Nothing: an envelope is complete without names."""

    def print(self, event: Event) -> bool:
        self._out.write(neutral_json(event.text) + "\n")
        self._out.flush()
        return True


@attrs.define
class Ringing:
    """Rings the terminal's bell for what is worth a notice, and prints all as before."""

    _output: Output
    _out: TextIO
    _activities: dict[object, object] = attrs.field(factory=dict)

    def learn(self, snapshot: Snapshot) -> None:
        """Activities as they are: what is so already is no news."""
        self._activities |= {row["id"]: row.get("activity") for row in snapshot.conversations}
        self._output.learn(snapshot)

    def print(self, event: Event) -> bool:
        printed = self._output.print(event)
        if self._is_news(event):
            self._out.write("\a")
            self._out.flush()
        return printed

    def _is_news(self, event: Event) -> bool:
        data = event.data if isinstance(event.data, dict) else {}
        if event.type == "message_added":
            return bool((data.get("record") or {}).get("kind") == "error")
        if event.type != "conversation_update" or "." in str(data.get("id")):
            return False
        if data.get("status") == "error":
            return True
        activity, before = data.get("activity"), self._activities.get(data.get("id"))
        if activity is not None:
            self._activities[data.get("id")] = activity
        return activity in ("waiting", "idle") and activity != before

    # A session that is idle for a moment between two turns rings too: a bell that waits would be one nobody trusts.


async def tail(
    url: str | Server,
    topics: Sequence[str],
    n: int | None,
    since: Position | None,
    as_json: bool,
    out: TextIO,
    notices: TextIO | None = None,
    token: str | None = None,
    where: Tree | None = None,
    open_stream: OpenStream | None = None,
    bell: bool = False,
) -> None:
    """Print events until `n` were printed, or for ever; notices of interruptions go to stderr.

    Writing blocks the loop on purpose: a pager that pauses costs a reconnect, never an event.

    Raises: Unreachable, Refused, Closed: there is no server, or it wants no such client.
    """
    output: Output = JsonLines(out) if as_json else Printer.to(out)
    if bell:
        output = Ringing(output, out)
    told = Notices.to(sys.stderr if notices is None else notices)
    snapshot = since is None and not as_json  # for the names of projects
    wanted = tuple(topics) or (DEFAULT_TOPICS if as_json else FOR_PEOPLE)
    behind = with_names(where) if wanted is FOR_PEOPLE else where
    with suppress(BrokenPipeError):  # the reader of our output has seen enough, e.g. `| head`
        async with follow(
            url, wanted, where=behind, since=since, snapshot=snapshot, token=token, open_stream=open_stream
        ) as items:
            count = 0
            while n is None or count < n:
                count += show(await items.receive(), output, told)


async def run(
    url: str | Server,
    topics: Sequence[str],
    n: int | None,
    since_seq: int | None,
    as_json: bool,
    where: Tree | None = None,
    bell: bool = False,
) -> None:
    """The command: to standard output, and since a seq of the log that the server has now. Raises as `tail`, and
    UsageError: a topic is the name of nothing."""
    topics = await topics_of(url, topics)
    since = None if since_seq is None else Position(await epoch_of(url), since_seq)
    await tail(url, topics, n, since, as_json, sys.stdout, where=where, bell=bell and sys.stdout.isatty())


async def epoch_of(url: str | Server, open_stream: OpenStream | None = None) -> str:
    """Name of the server's log. Raises: Unreachable, Refused, Closed."""
    async with connect(url, open_stream=open_stream) as connection:
        return str(connection.hello.data["position"]["epoch"])


def show(item: Item, output: Output, notices: Notices) -> bool:
    """Print an item; True if it was an event and there was something to print."""
    match item:
        case Event():
            return output.print(item)
        case Snapshot():
            output.learn(item)
        case _:
            notices.take(item)
    return False
