"""Judges the data directory: whose it is, whether the log in it is sound, and how much room there is."""

import shlex

import attrs

from observatory.core.finding import Finding, Level, number, size

WAL_BOUND = 64 * 1024 * 1024  # beyond, the server makes room: docs/operations.md, Limits
ROOM_WARN, ROOM_FAIL = 1024**3, 64 * 1024**2
OTHERS = 0o077  # what nobody else shall have


@attrs.frozen
class Owned:
    """A file or the directory itself: owner and permissions."""

    path: str
    uid: int
    mode: int


@attrs.frozen
class DatabaseFacts:
    """The database. error: why it cannot be read, with `cure`; the rest is unknown then. damage: of quick_check."""

    bytes: int = 0
    wal_bytes: int = 0
    error: str | None = None
    cure: str = ""
    schema: int = 0
    epoch: str | None = None
    head: int = 0
    oldest: int = 0
    clean: bool = True
    boot_changed: bool = False
    sources: int = 0
    unrecognised: int = 0
    example: str | None = None
    checked: bool = False
    damage: str | None = None


@attrs.frozen
class StoreFacts:
    """The data directory. database: None while there is none. room: free bytes on its disk. uid: ours."""

    path: str
    exists: bool
    uid: int
    room: int
    owned: tuple[Owned, ...] = ()
    database: DatabaseFacts | None = None


def judge_store(facts: StoreFacts, served: bool) -> list[Finding]:
    """The directory, its disk, and the log. served: a server runs on it."""
    found = _ownership(facts) if facts.exists else []
    if not facts.exists:
        found.append(Finding("ok", "data", f"{facts.path} is not there yet; the first start makes it"))
    elif facts.database is None:
        found.append(Finding("ok", "data", f"{facts.path} holds no log yet"))
    else:
        found.extend(_database(facts.path, facts.database, served))
    return [*found, *_room(facts.room)]


def _ownership(facts: StoreFacts) -> list[Finding]:
    found = []
    strangers = [owned for owned in facts.owned if owned.uid != facts.uid]
    if strangers:
        text = f"{strangers[0].path} belongs to user {strangers[0].uid}, this is user {facts.uid}"
        cure = f"run Observatory as that user, or give the directory to this one (chown -R {facts.uid} …)"
        found.append(Finding("fail" if facts.uid else "warn", "data", text, cure))
    for owned in facts.owned:
        if owned.mode & OTHERS:
            text = f"{owned.path} is open to others (mode {owned.mode:04o}): it holds your transcripts"
            command = f"chmod {owned.mode & ~OTHERS:o} {shlex.quote(owned.path)}"
            found.append(Finding("warn", "data", text, "close it:", (command,)))
    return found


def _room(room: int) -> list[Finding]:
    if room >= ROOM_WARN:
        return [Finding("ok", "room", f"{size(room)} free on the disk of the data directory")]
    cure = "free some space, or choose another disk with --data-dir; nothing is published that cannot be stored"
    level: Level = "fail" if room < ROOM_FAIL else "warn"
    return [Finding(level, "room", f"only {size(room)} free on the disk of the data directory", cure)]


def _database(path: str, facts: DatabaseFacts, served: bool) -> list[Finding]:
    sizes = f"{path}: {size(facts.bytes)} and {size(facts.wal_bytes)} write-ahead"
    if facts.error is not None:
        return [Finding("ok", "data", sizes), Finding("fail", "log", facts.error, facts.cure)]
    known = number(facts.sources, "file")
    log = f"schema {facts.schema}, epoch {facts.epoch}, events {facts.oldest:,} to {facts.head:,}, {known} known"
    found = [Finding("ok", "data", sizes), Finding("ok", "log", log)]
    if facts.wal_bytes > WAL_BOUND:
        text = f"the write-ahead file is larger than {size(WAL_BOUND)}: another program keeps the log from shrinking"
        found[0] = Finding("warn", "data", text, "close what has observatory.db open, or restart the server")
    if not facts.clean and not served:
        after = "the next start draws a new epoch" if facts.boot_changed else "the next start makes up for it"
        found.append(Finding("ok", "log", f"not closed in order, by a kill or a crash; {after}"))
    if facts.checked:
        found.append(_integrity(path, facts.damage))
    if facts.unrecognised:
        text = f"{number(facts.unrecognised, 'file')} not recognised as Claude Code's, for example {facts.example}"
        found.append(Finding("ok", "log", f"{text}; archived, not published"))
    return found


def _integrity(path: str, damage: str | None) -> Finding:
    if damage is None:
        return Finding("ok", "log", "SQLite's quick_check finds nothing wrong")
    cure = "stop the server and move the directory aside: what the transcripts still hold is read anew"
    return Finding("fail", "log", f"the database is damaged: {damage}", cure, (f"mv {shlex.quote(path)}{{,.damaged}}",))
