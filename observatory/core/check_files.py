"""Judges roots and file systems: what is there, what cannot be read, what tells of no changes."""

import shlex

import attrs

from observatory.core.finding import NONE, Finding, Some, number, size
from observatory.core.replies import rfc3339

# SQLite's WAL needs shared memory and locks that these do not give, or not between machines.
NO_PLACE_FOR_SQLITE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "vboxsf", "prl_fs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"),
    }
)
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
FUTURE_S = 60  # a clock may be so much ahead of another
CLOCK_FLOOR_S = 1_767_225_600  # 2026-01-01: this program is younger
COARSE_FILES = 10  # so many times without a fraction of a second are no coincidence


@attrs.frozen
class RootFacts:
    """One root and what lies below it. error: why it cannot be used. watches: directories that need one."""

    path: str
    exists: bool = True
    error: str | None = None
    watches: int = 0
    transcripts: int = 0
    bytes: int = 0
    oldest_ns: int | None = None
    newest_ns: int | None = None
    coarse: int = 0  # modification times without a fraction of a second
    future: Some = NONE
    closed_directories: Some = NONE
    closed_files: Some = NONE
    loops: Some = NONE
    special: Some = NONE
    linked: Some = NONE


@attrs.frozen
class FileSystem:
    """Where a path lies. type: None when the system does not tell. deaf: it tells of no changes made elsewhere."""

    path: str
    type: str | None
    deaf: bool = False


def judge_roots(roots: tuple[RootFacts, ...]) -> list[Finding]:
    """Each root; and that there is one at all."""
    found = [finding for root in roots for finding in _root(root)]
    if not any(root.exists for root in roots):
        cure = "start Claude Code once, or name its directory with --root; it is picked up as soon as it appears"
        found.append(Finding("warn", "roots", "there is nothing to watch yet", cure))
    return found


def _root(root: RootFacts) -> list[Finding]:
    if root.error is not None:
        cure = "make it readable for this user, or name another with --root"
        return [Finding("fail", "root", f"{root.path}: {root.error}", cure)]
    if not root.exists:
        return [Finding("ok", "root", f"{root.path} is not there yet")]
    files = f"{number(root.transcripts, 'transcript')}, {size(root.bytes)}"
    ages = ""
    if root.oldest_ns is not None and root.newest_ns is not None:
        ages = f", written {_day(root.oldest_ns)} to {_day(root.newest_ns)}"
    return [Finding("ok", "root", f"{root.path}: {files}{ages}"), *_obstacles(root)]


def _obstacles(root: RootFacts) -> list[Finding]:
    closed = (
        (root.closed_directories, "directory", "directories", "chmod u+rx"),
        (root.closed_files, "transcript", "transcripts", "chmod u+r"),
    )
    found = [
        Finding(
            "fail", "root", f"{number(some.count, one, many)} cannot be read, for example {_example(some)}",
            "let this user read it; what is in there is missing", (f"{command} {shlex.quote(some.example)}",),
        )
        for some, one, many, command in closed
        if some
    ]  # fmt: skip
    if root.loops:
        text = f"{number(root.loops.count, 'symlink')} to a directory that is there already: {_example(root.loops)}"
        found.append(Finding("ok", "root", f"{text}; each is read once"))
    if root.special:
        text = f"{number(root.special.count, 'entry', 'entries')} named .jsonl but no file: {_example(root.special)}"
        found.append(
            Finding("warn", "root", f"{text}; never opened", "remove or rename, if it is not meant to be there")
        )
    if root.linked:
        text = f"{number(root.linked.count, 'symlinked transcript')}: {_example(root.linked)}"
        found.append(Finding("ok", "root", f"{text}; polled, as a link tells of no changes"))
    return found


def _example(some: Some) -> str:
    return f"{some.example} ({some.reason})" if some.reason else some.example


def _day(time_ns: int) -> str:
    try:
        return rfc3339(time_ns // 1_000_000)[:10]
    except (OverflowError, ValueError, OSError):
        return "an impossible day"


def judge_file_systems(roots: tuple[FileSystem, ...], data_dir: FileSystem) -> list[Finding]:
    """Whether changes are told of below the roots, and whether SQLite can work in the data directory."""
    found = []
    for root in roots:
        if root.deaf:
            text = f"{root.path} is on {root.type}, which tells of no changes made elsewhere: polled, up to 2 s late"
            cure = "run Observatory on the machine that Claude Code writes on; nothing is lost meanwhile"
            found.append(Finding("warn", "disk", text, cure))
        elif root.type is not None:
            found.append(Finding("ok", "disk", f"{root.path} is on {root.type}"))
    return [*found, *_data_disk(data_dir)]


def _data_disk(place: FileSystem) -> list[Finding]:
    if place.type is None:
        return []
    if place.type in NO_PLACE_FOR_SQLITE:
        text = f"the data directory {place.path} is on {place.type}: SQLite may damage its file there"
        return [Finding("fail", "disk", text, "choose a directory on a local disk with --data-dir")]
    if place.type in IN_MEMORY:
        text = f"the data directory {place.path} is on {place.type}: the archive is gone after a reboot"
        return [Finding("warn", "disk", text, "choose a directory on a disk with --data-dir")]
    if place.type == "overlay":
        text = f"the data directory {place.path} is on overlay: the archive goes away with its container"
        return [Finding("warn", "disk", text, "mount a volume there, or choose one with --data-dir")]
    return [Finding("ok", "disk", f"the data directory is on {place.type}")]


def judge_times(now_s: float, roots: tuple[RootFacts, ...]) -> list[Finding]:
    """The clock, and the times of files."""
    if now_s < CLOCK_FLOOR_S:
        text = f"the clock says {_day(int(now_s) * 10**9)}, which is past: retention and times are wrong"
        return [Finding("fail", "clock", text, "set the clock", ("sudo timedatectl set-ntp true",))]
    found = [Finding("ok", "clock", f"{rfc3339(int(now_s * 1000))[:19]}Z")]
    for root in roots:
        if root.future:
            text = f"{number(root.future.count, 'transcript')} with a time in the future: {root.future.example}"
            cure = "check the clock of the machine that wrote it; nothing is lost, but it is read first"
            found.append(Finding("warn", "clock", text, cure))
        if root.coarse == root.transcripts >= COARSE_FILES:
            text = f"{root.path}: times of files have no fraction of a second; size and inode tell changes apart"
            found.append(Finding("ok", "clock", text))
    return found
