"""A stage for the ingest: real files, a a real EventLog; commits on the loop, and failing when told to."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio
from trio.testing import wait_all_tasks_blocked

from actors.router import Router
from actors.turn import Turn
from actors.watcher import Change, FileChanged, FileGone, FileSeen, FileStat, RootScanned
from observatory.core.batch import Batch
from observatory.core.errors import StoreError
from observatory.core.events import Event
from observatory.core.forgetting import Removal, Target
from observatory.core.topics import EVERYONE
from observatory.ingest.actor import Ingest
from observatory.ingest.bulk import NO_WORKERS, Workers
from observatory.storage.bodies import Bodies
from observatory.storage.log import EventLog
from tests.oracle import read_log
from tests.storage.damage import kill

NOW = 1_795_381_200_000  # 2026-11-22T21:00:00Z
BEFORE, AFTER = "2026-11-22T20:00:00.{:03}Z", "2026-11-22T22:00:00.{:03}Z"  # stamps of old lines and of fresh ones
Told = tuple[str, dict[str, Any]]


def line(**fields: Any) -> bytes:
    """A line of a transcript."""
    return orjson.dumps(fields)


def prompt(number: int, text: str = "do it", *, stamp: str = BEFORE, **fields: Any) -> bytes:
    """A user's prompt."""
    message = {"role": "user", "content": f"{text} {number}"}
    found = {"type": "user", "uuid": f"u{number}", "parentUuid": None, "sessionId": "s", "cwd": "/w"}
    return line(**found | {"timestamp": stamp.format(number), "message": message} | fields)


def reply(number: int, message_id: str, *, output: int = 10, stamp: str = BEFORE, **fields: Any) -> bytes:
    """One line of an API message."""
    usage = {"input_tokens": 1, "output_tokens": output}
    message = {"id": message_id, "role": "assistant", "model": "m", "content": [], "usage": usage}
    found = {"type": "assistant", "uuid": f"a{number}", "parentUuid": None, "sessionId": "s", "cwd": "/w"}
    return line(**found | {"timestamp": stamp.format(number), "message": message} | fields)


def use(*ids: str, name: str = "Bash", at: int = 0, asked: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A line of a reply that calls a tool so many times."""
    blocks = [{"type": "tool_use", "id": one, "name": name, "input": asked or {}} for one in ids]
    message = {"role": "assistant", "model": "m", "id": f"m{at}", "content": blocks}
    found = {"type": "assistant", "uuid": f"a{at}", "parentUuid": None, "sessionId": "s", "cwd": "/w"}
    return line(**found | {"timestamp": BEFORE.format(at), "message": message} | fields)


def result(*ids: str, is_error: bool = False, at: int = 0, **fields: Any) -> bytes:
    """The results of calls."""
    blocks = [{"type": "tool_result", "tool_use_id": one, "is_error": is_error, "content": "x"} for one in ids]
    found = {"type": "user", "uuid": f"r{at}", "parentUuid": None, "sessionId": "s", "cwd": "/w"}
    return line(**found | {"timestamp": BEFORE.format(at), "message": {"role": "user", "content": blocks}} | fields)


def summary(leaf_uuid: str, text: str) -> bytes:
    """A name for the conversation that a record belongs to."""
    return line(type="summary", summary=text, leafUuid=leaf_uuid)


@attrs.define(eq=False)
class InlineCommits:
    """Commits on the loop. errors: raised by the next ones; room: commits until all further ones hang, as in a kill."""

    log: EventLog
    errors: list[StoreError] = attrs.field(factory=list)
    room: int | None = None
    commits: int = 0
    refused: int = 0
    turn: Turn = attrs.field(factory=Turn)

    def append_nowait(self, batch: Batch) -> tuple[Event, ...] | None:
        if self.room == 0:
            return None
        if self.errors:
            self.refused += 1
            raise self.errors.pop(0)
        if self.room is not None and not batch.swept:  # another task commits those, at whatever time
            self.room -= 1
        self.commits += 1
        return self.log.append(batch, NOW + self.commits)

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        await trio.lowlevel.checkpoint()
        while (events := self.append_nowait(batch)) is None:
            await trio.sleep_forever()
        return events

    async def forget(self, target: Target) -> Removal:
        await trio.lowlevel.checkpoint()
        return self.log.forget(target, NOW)

    async def scrub(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.log.scrub()


@attrs.define(eq=False)
class Stage:
    """A root, a data directory, and what was told since the last look."""

    directory: Path
    project: str = "-w"
    excluded: Callable[[str], bool] = lambda path: False
    redact: Callable[[bytes], bytes] | None = None
    workers: Workers = NO_WORKERS
    wall_ms: Callable[[], int] = lambda: NOW
    _ingest: Ingest | None = None
    _commits: InlineCommits | None = None
    _looked: int = 0
    _written: int = 0

    @property
    def root(self) -> Path:
        return self.directory / "projects"

    @property
    def ingest(self) -> Ingest:
        assert self._ingest is not None
        return self._ingest

    @property
    def commits(self) -> InlineCommits:
        assert self._commits is not None
        return self._commits

    @property
    def archive(self) -> EventLog:
        return self.commits.log

    @asynccontextmanager
    async def running(self, *, scan: bool = True, killed: bool = False, room: int | None = None) -> AsyncIterator[None]:
        """One process's life. killed: it ends without a word; room: commits it gets to make."""
        self.root.mkdir(exist_ok=True)
        log = EventLog(self.directory, "boot-1", self.redact)
        self._commits = InlineCommits(log, room=room)
        router = Router[str](EVERYONE, log.position.head, 16, lambda: 0)
        self._ingest = Ingest(log, self._commits, router, self.wall_ms, self.excluded, self.redact, self.workers)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(router.run)
                nursery.start_soon(self._ingest.run)
                nursery.start_soon(self._ingest.attachments.run)
                if scan:
                    self.ingest.send_nowait((self.look(),))
                    await self.settled()
                yield
                if killed:
                    self._commits.room = 0
                nursery.cancel_scope.cancel()
        finally:
            if killed:
                kill(log)
            else:
                log.close()

    async def settled(self) -> None:
        """Until nothing more happens, in worker processes and threads either."""
        while True:
            await wait_all_tasks_blocked()
            if not self.ingest.busy_elsewhere:
                return
            await trio.sleep(0.005)  # another process or thread works: nothing here tells when it will be done

    # -- files ---------------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """A file below the root; a bare name is in the project's folder."""
        return self.root / (name if "/" in name else f"{self.project}/{name}")

    def write(self, name: str, *lines: bytes, end: bytes = b"\n") -> None:
        """Append lines."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"\n".join(lines) + end)
        self._written += 1
        since = NOW - 7_200_000 if self._ingest is None else NOW + 60_000  # before or after the first process's start
        os.utime(path, ns=(0, (since + self._written) * 1_000_000))

    async def append(self, name: str, *lines: bytes, end: bytes = b"\n") -> list[Told]:
        """Append lines and tell the ingest; returns what it made of them."""
        self.write(name, *lines, end=end)
        return await self.hint(name)

    async def replace(self, name: str, *lines: bytes) -> list[Told]:
        """Rename another file over it."""
        self.write("new", *lines)
        self.path("new").replace(self.path(name))
        return await self.hint(name)

    async def remove(self, name: str) -> list[Told]:
        """Delete a file."""
        self.path(name).unlink()
        return await self.hint(name)

    # -- hints ---------------------------------------------------------------------------------------------------------

    def look(self) -> RootScanned:
        """What a watcher's first look at the root finds."""
        files = tuple(FileSeen(str(path), _stat(path)) for path in sorted(self.root.rglob("*.jsonl")))
        return RootScanned(str(self.root), files)

    async def hint(self, *names: str) -> list[Told]:
        """The files changed, or are gone."""
        paths = [self.path(name) for name in names]
        return await self.tell(*(FileChanged(str(p), 0) if p.exists() else FileGone(str(p), 0) for p in paths))

    async def tell(self, *changes: Change) -> list[Told]:
        """Give hints, and let everything happen that follows."""
        self.ingest.send_nowait(changes)
        await wait_all_tasks_blocked()
        return self.told()

    # -- what came of it -----------------------------------------------------------------------------------------------

    def told(self) -> list[Told]:
        """(type, data) of the events since the last look."""
        log = read_log(self.directory / "observatory.db")
        events = [orjson.loads(event.payload) for event in log if event.payload]  # … which forgotten ones have not
        news = [event for event in events if event["seq"] > self._looked]
        self._looked = max([self._looked, *(event["seq"] for event in news)])
        return [(event["type"], event["data"]) for event in news]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the database as committed; `body_of(id, codec, body)` in the query is a body as it was read."""
        with closing(sqlite3.connect(f"{(self.directory / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
            db.create_function("body_of", 3, Bodies(db).of)
            return db.execute(query).fetchall()

    def records(self) -> list[tuple[Any, ...]]:
        """The rows of all records, with their bodies as they were read instead of codec and what is stored."""
        with closing(sqlite3.connect(f"{(self.directory / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
            bodies = Bodies(db)
            rows = db.execute("SELECT * FROM records ORDER BY id").fetchall()
            return [(*row[:-2], bodies.of(row[0], row[-2], row[-1])) for row in rows]

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        """A conversation's row."""
        ((body,),) = self.rows(f"SELECT body FROM conversations WHERE id = '{conversation_id}'")
        row: dict[str, Any] = orjson.loads(body)
        return row

    def projects(self) -> dict[str, dict[str, Any]]:
        """Projects by path."""
        return {row["path"]: row for (body,) in self.rows("SELECT body FROM projects") if (row := orjson.loads(body))}


def types(told: list[Told]) -> list[str]:
    """Their types, in order."""
    return [kind for kind, _ in told]


def of(told: list[Told], kind: str) -> list[dict[str, Any]]:
    """The data of one type."""
    return [data for found, data in told if found == kind]


def texts(told: list[Told]) -> list[str]:
    """What the published messages say."""
    return [data["message"]["content"] for data in of(told, "message_added") if data["message"]]


def uuids(told: list[Told]) -> Iterator[str | None]:
    """The records published."""
    return (data["record"]["uuid"] for data in of(told, "message_added"))


def _stat(path: Path) -> FileStat:
    found = path.stat()
    return FileStat(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
