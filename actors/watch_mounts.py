"""Which file systems tell of too little: a look into the system's mount table."""

import os
import re
from collections.abc import Sequence

import attrs

MOUNT_TABLE = "/proc/self/mountinfo"  # on Linux; elsewhere nothing is known, the back-end's own rescans must do
NETWORK = {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"}
NETWORK |= {"orangefs", "smb3", "smbfs"}
HOSTED = {"drvfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"}  # a virtual machine's view of its host; WSL's is 9p too
LAYERED = {"aufs", "overlay"}  # who writes into a layer is not heard above it
DEAF = NETWORK | HOSTED | LAYERED
FUSE = "fuse"  # any of them may have another side; not `fuseblk`, a disk that is written through this mount alone
ESCAPED = re.compile(r"\\([0-7]{3})")


@attrs.frozen
class Mount:
    """One line of the table."""

    device: tuple[int, int]
    point: str
    kind: str


def parse_mounts(table: str) -> list[Mount]:
    """The mounts in the table's order: of two at one point the later covers the earlier."""
    mounts = []
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, *_) = left.split(" "), right.split(" ")
        major, colon, minor = fields[2].partition(":") if len(fields) > 4 else ("", "", "")
        if kind and colon and major.isdigit() and minor.isdigit():
            mounts.append(Mount((int(major), int(minor)), _unescape(fields[4]), kind))
    return mounts


def find_kind(path: str, device: int, mounts: Sequence[Mount]) -> str | None:
    """The type of the file system that a directory is on. `path` has no symlinks in it.

    Btrfs and its like give each part a device number that the table does not know: then the mount point decides.
    """
    wanted = (os.major(device), os.minor(device))
    for mount in mounts:
        if mount.device == wanted:
            return mount.kind  # a device has one type, however often and wherever it is mounted
    around = [mount for mount in reversed(mounts) if _is_within(path, mount.point)]
    return max(around, key=lambda mount: len(mount.point)).kind if around else None


def is_deaf_kind(kind: str) -> bool:
    """Whether such a file system sends no events for what others write to it."""
    return kind in DEAF or kind == FUSE or kind.startswith(FUSE + ".")


def is_deaf(path: str, device: int, table: str = MOUNT_TABLE) -> bool:
    """Whether a directory is on a file system that sends no events for what others write to it."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            mounts = parse_mounts(file.read())
    except OSError:
        return False
    kind = find_kind(os.path.realpath(path), device, mounts)
    return kind is not None and is_deaf_kind(kind)


def _unescape(field: str) -> str:
    return ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)


def _is_within(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
