"""Judgement of roots, file systems and times from made facts."""

import pytest

from observatory.core.check_files import (
    FileSystem,
    RootFacts,
    judge_file_systems,
    judge_roots,
    judge_times,
)
from observatory.core.finding import Finding, Some, number, size

DAY_NS = 86_400 * 10**9


def told(found: list[Finding]) -> list[tuple[str, str]]:
    """Levels and findings; every problem has a cure, and nothing else has."""
    assert all(bool(finding.cure) == (finding.level != "ok") for finding in found)
    return [(finding.level, finding.finding) for finding in found]


def test_without_a_mount_table_nothing_is_said_of_file_systems() -> None:
    assert judge_file_systems((FileSystem("/r", None),), FileSystem("/d", None)) == []


@pytest.mark.parametrize(
    ("kind", "level"),
    [("ext4", "ok"), ("fuse.sshfs", "fail"), ("nfs4", "fail"), ("9p", "fail"), ("tmpfs", "warn"), ("overlay", "warn")],
)
def test_the_database_needs_a_local_lasting_disk(kind: str, level: str) -> None:
    [(found, text)] = told(judge_file_systems((), FileSystem("/d", kind)))
    assert found == level
    assert kind in text


def test_a_root_that_tells_of_no_changes_is_a_warning() -> None:
    roots = (FileSystem("/a", "ext4"), FileSystem("/b", "nfs4", deaf=True))
    found = told(judge_file_systems(roots, FileSystem("/d", None)))
    assert [level for level, _ in found] == ["ok", "warn"]
    assert found[1][1].startswith("/b is on nfs4")


def test_a_root_says_what_it_holds() -> None:
    root = RootFacts("/r", watches=3, transcripts=2, bytes=4096, oldest_ns=DAY_NS, newest_ns=2 * DAY_NS)
    assert told(judge_roots((root,))) == [("ok", "/r: 2 transcripts, 4.0 KiB, written 1970-01-02 to 1970-01-03")]
    assert told(judge_roots((RootFacts("/r"),))) == [("ok", "/r: 0 transcripts, 0 bytes")]
    impossible = RootFacts("/r", transcripts=1, oldest_ns=0, newest_ns=10**30)
    assert "an impossible day" in told(judge_roots((impossible,)))[0][1]


@pytest.mark.parametrize(
    ("root", "level", "text", "commands"),
    [
        (RootFacts("/r", closed_directories=Some(2, "/r/a b", "Permission denied")), "fail",
         "2 directories cannot be read, for example /r/a b (Permission denied)", ("chmod u+rx '/r/a b'",)),
        (RootFacts("/r", closed_files=Some(1, "/r/x.jsonl", "Permission denied")), "fail",
         "1 transcript cannot be read, for example /r/x.jsonl (Permission denied)", ("chmod u+r /r/x.jsonl",)),
        (RootFacts("/r", loops=Some(1, "/r/l", "is /r")), "ok",
         "1 symlink to a directory that is there already: /r/l (is /r); each is read once", ()),
        (RootFacts("/r", special=Some(1, "/r/p.jsonl", "FIFO")), "warn",
         "1 entry named .jsonl but no file: /r/p.jsonl (FIFO); never opened", ()),
        (RootFacts("/r", linked=Some(3, "/r/l.jsonl")), "ok",
         "3 symlinked transcripts: /r/l.jsonl; polled, as a link tells of no changes", ()),
    ],
)  # fmt: skip
def test_an_obstacle_below_a_root_is_counted_with_an_example(
    root: RootFacts, level: str, text: str, commands: tuple[str, ...]
) -> None:
    found = judge_roots((root,))
    assert told(found)[1:] == [(level, text)]
    assert found[1].commands == commands


def test_a_missing_root_is_fine_unless_all_are_missing() -> None:
    here, gone = RootFacts("/r"), RootFacts("/g", exists=False)
    assert [level for level, _ in told(judge_roots((here, gone)))] == ["ok", "ok"]
    assert told(judge_roots((gone,))) == [("ok", "/g is not there yet"), ("warn", "there is nothing to watch yet")]
    assert told(judge_roots((RootFacts("/r", error="Permission denied"),))) == [("fail", "/r: Permission denied")]


NOW = 1_795_381_200.0


@pytest.mark.parametrize(
    ("now", "root", "levels"),
    [
        (NOW, RootFacts("/r"), ["ok"]),
        (0.0, RootFacts("/r"), ["fail"]),
        (NOW, RootFacts("/r", transcripts=1, future=Some(1, "/r/a.jsonl")), ["ok", "warn"]),
        (NOW, RootFacts("/r", transcripts=10, coarse=10), ["ok", "ok"]),
        (NOW, RootFacts("/r", transcripts=9, coarse=9), ["ok"]),
        (NOW, RootFacts("/r", transcripts=11, coarse=10), ["ok"]),
    ],
)
def test_the_clock_and_the_times_of_files(now: float, root: RootFacts, levels: list[str]) -> None:
    assert [level for level, _ in told(judge_times(now, (root,)))] == levels


def test_counts_and_sizes_are_for_people() -> None:
    assert [size(count) for count in (0, 1023, 1536, 2**50 * 4)] == ["0 bytes", "1,023 bytes", "1.5 KiB", "4,096.0 TiB"]
    assert [number(1, "file"), number(2000, "file"), number(2, "entry", "entries")] == [
        "1 file", "2,000 files", "2 entries",
    ]  # fmt: skip
    assert (bool(Some()), bool(Some(1))) == (False, True)
