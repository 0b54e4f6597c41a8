"""A stage for the copy: transcripts, an archive made of them by the real ingest, and a database to copy it to."""

import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import attrs
import jwt
import trio

from observatory.core.forgetting import Target
from observatory.monitor import FileMonitor
from observatory.sinks import copying, migrating
from observatory.sinks.copying import Settings
from observatory.sinks.pusher import Progress
from observatory.storage.log import EventLog
from tests.ingest.stage import prompt, reply, result, use
from tests.postgres import SECRET, Cluster, rows
from tests.postgrest.server import StandIn, standing_in
from tests.sinks import equal

OWNER, OTHER, STRANGER = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in (1, 2, 3))
WAYS = ("direct", "api")


def conversation(number: int, lines: int = 6) -> list[bytes]:
    """A prompt, calls with results, and answers."""
    name = f"s{number:03}"
    found = [prompt(0, f"ask {number}", sessionId=name, uuid=f"{name}-0", cwd=f"/w{number % 3}")]
    for n in range(1, lines):
        more: dict[str, Any] = {"sessionId": name, "uuid": f"{name}-{n}", "cwd": f"/w{number % 3}"}
        match n % 3:
            case 1:
                found.append(use(f"{name}-t{n}", at=n % 900, asked={"command": f"ls {n}"}, **more))
            case 2:
                found.append(result(f"{name}-t{n - 1}", at=n % 900, **more))
            case _:
                found.append(reply(n % 900, f"{name}-m{n}", output=n, **more))
    return found


@attrs.define(eq=False)
class Stage:
    """monitor: while `living` lasts. told: what the pusher told last."""

    directory: Path
    cluster: Cluster
    database: str
    monitor: FileMonitor | None = None
    told: list[Progress] = attrs.field(factory=list)
    stand_in: StandIn | None = None

    @property
    def root(self) -> Path:
        """The transcripts."""
        return self.directory / "projects"

    @property
    def data(self) -> Path:
        """The archive."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """The database, for whoever may do anything."""
        return self.cluster.url(self.database)

    def write(self, name: str, *lines: bytes, end: bytes = b"\n") -> Path:
        """Append lines to a transcript."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"\n".join(lines) + end)
        return path

    @asynccontextmanager
    async def living(self, **options: Any) -> AsyncIterator[FileMonitor]:
        """The ingest runs for the block, and what changes is written down."""
        self.root.mkdir(parents=True, exist_ok=True)
        async with FileMonitor([self.root], self.data, **options) as monitor:
            self.monitor = monitor
            await monitor.commits.follow_changes()
            await monitor.wait_imported()
            yield monitor
        self.monitor = None

    async def archived(self) -> None:
        """What the transcripts hold now is in the archive; nothing runs."""
        async with self.living():
            await self.read()

    async def read(self) -> None:
        """The ingest has read to the end of every file, and its books are closed."""
        assert self.monitor is not None
        size = sum(path.stat().st_size for path in self.root.rglob("*.jsonl"))
        while True:
            sources = equal_sources(self.data)
            if sum(sources.values()) == size and len(sources) == len([*self.root.rglob("*.jsonl")]):
                return
            await trio.sleep(0.02)

    async def forget(self, conversation_id: str) -> None:
        """As `observatory forget`."""
        assert self.monitor is not None
        await self.monitor.forget(Target("conversation", conversation_id))

    # -- the other side ------------------------------------------------------------------------------------------------

    @property
    def machine(self) -> str:
        """The archive's."""
        log = EventLog(self.data, None) if self.monitor is None else None
        if log is None:
            (found,) = rows_of(self.data, "SELECT value FROM meta WHERE key = 'machine_id'")
            return str(found[0])
        try:
            return log.machine_id
        finally:
            log.close()

    def set_up(self, schema: str = "public") -> str:
        """Tables, and a login for this machine; returns the URL with that."""
        with migrating.connected(self.url) as db:
            migrating.migrate(db, schema)
            migrating.register(db, schema, self.machine, OWNER, "laptop")
            return migrating.make_login(db, schema, self.machine, self.url)

    def key(self, **changes: Any) -> str:
        """A signed key for this machine's writer."""
        claims = {"role": "observatory_writer", "sub": OWNER, "machine_id": self.machine, **changes}
        return jwt.encode(claims, SECRET, "HS256")

    def settings(self, way: str, url: str, **changes: Any) -> Settings:
        """How the copy is kept: straight, or through the API."""
        if way == "direct":
            return Settings(str(self.data), db_url=url, **changes)
        assert self.stand_in is not None
        return Settings(str(self.data), url=self.stand_in.url, key=self.key(), **changes)

    async def copy(self, settings: Settings) -> Progress:
        """Until all is there."""
        return await copying.copy(settings, self.hear, once=True)

    async def hear(self, progress: Progress) -> None:
        """What the pusher tells."""
        self.told.append(attrs.evolve(progress, sent=dict(progress.sent), retries=dict(progress.retries)))
        await trio.lowlevel.checkpoint()

    def differences(self, **scope: Any) -> list[str]:
        """Between the archive and the copy."""
        return equal.differences(self.url, equal.wanted(self.data, **scope))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says."""
        return rows(self.url, query, *values)


def rows_of(data: Path, query: str) -> list[tuple[Any, ...]]:
    """What the archive says."""
    with closing(sqlite3.connect(f"{(data / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def equal_sources(data: Path) -> dict[str, int]:
    """How far each transcript is in the books."""
    return dict(rows_of(data, "SELECT path, offset FROM sources WHERE missing = 0"))


@asynccontextmanager
async def staged(directory: Path, cluster: Cluster, database: str, way: str = "direct") -> AsyncIterator[Stage]:
    """A stage; for the API with a stand-in of PostgREST."""
    stage = Stage(directory, cluster, database)
    if way == "direct":
        yield stage
        return
    dsn = cluster.url(database, "authenticator", "authenticator")
    with standing_in(dsn, secret=SECRET, anonymous="anon") as stage.stand_in:
        yield stage


async def patiently(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what another task or process does."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - another process does it
            await trio.sleep(0.02)


def shuffled(seed: int) -> Callable[[float, float], float]:
    """Draws for pauses, short ones."""
    draw = random.Random(seed)
    return lambda low, high: draw.uniform(low, min(high, 0.01))


Tell = Callable[[Progress], Awaitable[None]]
