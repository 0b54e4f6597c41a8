"""Which file systems are polled: read from made-up mount tables."""

import os
from functools import partial
from pathlib import Path

import pytest

from actors.watch_mounts import Mount, find_kind, is_deaf, is_deaf_kind, parse_mounts
from actors.watch_poll import PollBackend
from actors.watch_port import Backend
from tests.actors.test_watch_parts import Mute
from tests.actors.watch_ear import append, listening

DISK = os.makedev(254, 0)
TABLE = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:42 / /home rw shared:2 - nfs4 server:/home rw
31 30 254:0 /srv/me /home/me rw,bind - ext4 /dev/vda rw
32 22 0:43 / /mnt/my\040disk\134x rw master:3 propagate_from:2 - btrfs /dev/vdb rw,subvol=/
33 22 0:44 / /mnt/my\040disk\134x/far rw - 9p drvfs rw,aname=drvfs;path=C:\;uid=1000
34 22 0:45 / /mnt/twice rw - xfs /dev/vdc rw
35 22 0:46 / /mnt/twice rw - fuse.sshfs me@there: rw
cut
36 22 nonsense / /mnt/bad rw - nfs server:/ rw
37 22 0:47 / /mnt/typeless rw -
"""


def test_a_mount_table_is_read_line_by_line_and_what_is_no_mount_is_passed_over() -> None:
    mounts = parse_mounts(TABLE)
    assert [mount.kind for mount in mounts] == ["ext4", "nfs4", "ext4", "btrfs", "9p", "xfs", "fuse.sshfs"]
    assert mounts[3] == Mount((0, 43), "/mnt/my disk\\x", "btrfs")


def test_the_device_decides_also_for_bind_mounts_below_something_else() -> None:
    mounts = parse_mounts(TABLE)
    assert find_kind("/home/me/.claude", DISK, mounts) == "ext4"
    assert find_kind("/home/you/.claude", os.makedev(0, 42), mounts) == "nfs4"
    assert find_kind("/srv/me", DISK, mounts) == "ext4"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/my disk\\x/projects", "btrfs"),
        ("/mnt/my disk\\x", "btrfs"),
        ("/mnt/my disk\\x/far/projects", "9p"),
        ("/mnt/my disk\\xyz", "ext4"),
        ("/mnt/twice/projects", "fuse.sshfs"),
        ("/", "ext4"),
    ],
)
def test_a_device_that_the_table_does_not_know_is_found_by_its_mount_point(path: str, kind: str) -> None:
    assert find_kind(path, os.makedev(0, 99), parse_mounts(TABLE)) == kind


def test_where_nothing_is_mounted_nothing_is_known() -> None:
    assert find_kind("/x", DISK, []) is None


@pytest.mark.parametrize(
    "kind",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "drvfs",
        "virtiofs",
        "vboxsf",
        "ceph",
        "overlay",
        "aufs",
        "fuse",
        "fuse.sshfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.bindfs",
        "fuse.gvfsd-fuse",
        "fuse.vmhgfs-fuse",
    ],
)
def test_what_others_can_write_to_unheard_is_deaf(kind: str) -> None:
    assert is_deaf_kind(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "f2fs", "fuseblk", "wslfs", "fusectl"])
def test_what_is_written_to_by_this_machine_alone_is_not_deaf(kind: str) -> None:
    assert not is_deaf_kind(kind)


def test_the_detector_follows_symlinks_and_believes_in_events_where_there_is_no_table(tmp_path: Path) -> None:
    (far := tmp_path / "far").mkdir()
    (link := tmp_path / "link").symlink_to(far)
    (table := tmp_path / "mountinfo").write_text(f"1 0 0:9999 / / rw - ext4 x rw\n2 1 0:9998 / {far} rw - nfs x rw\n")
    unknown = os.makedev(0, 77)
    assert is_deaf(str(link), unknown, str(table))
    assert not is_deaf(str(tmp_path), unknown, str(table))
    assert not is_deaf(str(link), unknown, str(tmp_path / "none"))


@pytest.mark.parametrize(("kind", "polled"), [("nfs4", 1), ("9p", 1), ("fuse.sshfs", 1), ("overlay", 1), ("ext4", 0)])
async def test_directories_on_a_deaf_file_system_are_polled(tmp_path: Path, kind: str, polled: int) -> None:
    (far := tmp_path / "far" / "p").mkdir(parents=True)
    (table := tmp_path / "mountinfo").write_text(
        f"1 0 0:9999 / / rw - ext4 x rw\n2 1 0:9998 / {far} rw - {kind} x rw\n"
    )

    def open_mute(name: str, poll: PollBackend) -> Backend:
        return Mute(lambda: 0)

    backend = partial(listening, backend="auto", open_backend=open_mute)
    async with backend(far, mount_table=str(table), sweep_s=0.05, directories_s=0.1) as ear:
        assert ear.watcher.statistics().polled_directories == polled
        append(file := far / "f.jsonl")
        await ear.wait_changed(file)
