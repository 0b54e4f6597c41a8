"""R: the reader; its source is written by another program and is hostile input. Virtual time, real files."""

import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson

from observatory.demo import transcript as demo
from tests.faults.archived import offsets, records, stored, uuids
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld
from tests.faults.transcripts import prompt

FAILS = Path("/sys/class/net/lo/speed")  # a regular file; to read it is an error


def known(data: bytes) -> list[str]:
    """The uuids of whole lines."""
    return [orjson.loads(line)["uuid"] for line in data.split(b"\n")[:-1]]


def wide(file: str, number: int) -> bytes:
    """A prompt with characters of two, three and four bytes."""
    line = orjson.loads(prompt(file, number))
    line["message"]["content"] = "grün \u2028 € 𝄞 " + line["message"]["content"]
    return orjson.dumps(line) + b"\n"


# -- R01 to R04: what disks and killed programs leave ------------------------------------------------------------------


@scenario("R01", sweep=(False, True))
async def a_line_cut_anywhere_is_nothing_until_its_newline(world: SimWorld, restarted: bool) -> None:
    await world.start()
    await world.target("c")
    size = len(wide("t000", 1))
    files = {f"t{cut:03}": cut for cut in range(size)}
    first = {file: wide(file, 0) for file in files}
    second = {file: wide(file, 1) for file in files}
    assert {len(line) for line in second.values()} == {size}
    for file, cut in files.items():
        world.owe(file, f"{file}-0")
        world.append(file, first[file] + second[file][:cut])
    await world.settle()
    assert all(uuids(world, file) == [f"{file}-0"] for file in files)
    assert offsets(world) == {file: len(line) for file, line in first.items()}
    if restarted:
        await world.restart()
    for file, cut in files.items():
        world.owe(file, f"{file}-1")
        world.append(file, second[file][cut:])
    await world.settle()
    assert all(uuids(world, file) == [f"{file}-0", f"{file}-1"] for file in files)


def shapes(draw: random.Random, session: str) -> list[bytes]:
    """Lines as Claude Code writes them: of the tree and beside it, of both speakers, with tools and results."""
    talk = demo.Transcript("", session, "/w", 0.0, draw, lambda at: f"2026-11-22T21:00:{at % 60:06.3f}Z")
    use = demo.call(talk, "Bash", command="ls")
    steps = [
        *demo.prompt(talk, 0.1, "Look at {this}}{and that"),
        *demo.reply(talk, demo.think("hm"), demo.say('a "quoted" }{ reply'), use),
        *demo.result(talk, 0.1, use, "README.md", {"stdout": "README.md"}),
        talk.line(0.1, "system", subtype="turn_duration", durationMs=1200),
        talk.aside("custom-title", customTitle="A title"),
    ]
    return [step.data.rstrip(b"\n") for step in steps]


@scenario("R02", seeds=2)
async def glued_records_are_two_events(world: SimWorld) -> None:
    await world.start()
    await world.client("c")
    lines = shapes(world.draw, "shapes")
    for a in range(len(lines)):
        for b in range(len(lines)):
            left, right = shapes(world.draw, f"g{a}-{b}")[a], shapes(world.draw, f"g{a}-{b}")[b]
            world.append(f"g{a}-{b}", left + right + b"\n")
    await world.settle()
    for a in range(len(lines)):
        for b in range(len(lines)):
            found = records(world, f"g{a}-{b}")
            assert [one["type"] for one in found] == [orjson.loads(lines[n])["type"] for n in (a, b)], (a, b, found)


@scenario("R03")
async def a_stub_before_a_record_is_one_error_and_one_event(world: SimWorld) -> None:
    await world.start()
    await world.client("c")
    files = {f"t{cut:03}": cut for cut in range(1, len(wide("t000", 1)) - 1)}
    for file, cut in files.items():
        world.owe(file, f"{file}-0", f"{file}-2", f"{file}-3")
        world.append(file, wide(file, 0) + wide(file, 1)[:cut] + wide(file, 2) + wide(file, 3))
    await world.settle()
    for file, cut in files.items():
        first, *between, last = records(world, file)
        assert (first["uuid"], last["uuid"]) == (f"{file}-0", f"{file}-3")
        bad, good = sorted(between, key=lambda one: one["kind"] != "error")
        assert (bad["kind"], good["uuid"]) == ("error", f"{file}-2")
        assert bad["text"].startswith(wide(file, 1)[:cut].decode("utf-8", "replace").rstrip("\ufffd"))


@scenario("R04", seeds=3)
async def a_run_of_nuls_costs_no_record_behind_it(world: SimWorld) -> None:
    await world.start()
    await world.client("c")
    for n in range(60):
        file, size = f"n{n}", (1, 4096, world.draw.randrange(1, 4097))[n % 3]
        lines = [prompt(file, k) for k in range(4)]
        data, nuls = b"".join(lines), b"\0" * size
        bounds = [sum(map(len, lines[:k])) for k in range(5)]
        ends = [bound - 1 for bound in bounds[1:]]  # before a newline
        at = world.draw.choice((world.draw.choice(bounds), world.draw.choice(ends), world.draw.randrange(len(data))))
        hit = [k for k in range(4) if bounds[k] < at < ends[k]]  # inside of a record: that one is lost
        world.owe(file, *(f"{file}-{k}" for k in range(4) if k not in hit))
        world.append(file, data[:at] + nuls + data[at:] + prompt(file, 4))
        world.owe(file, f"{file}-4")
        await world.settle()
        found = records(world, file)
        assert [one["kind"] for one in found if one["uuid"] is None] == ["error"] * len(hit), (at, size, found)
        assert all("\0" not in (one.get("text") or "") for one in found if one["uuid"] is not None)


# -- R07: rewritten files ----------------------------------------------------------------------------------------------


def lines(file: str, numbers: Iterable[int]) -> bytes:
    """Prompts with these numbers."""
    return b"".join(prompt(file, number) for number in numbers)


REWRITTEN = {
    "cut": lines("s", range(3)),
    "cut in a line": lines("s", range(3))[:-40],
    "emptied": b"",
    "cut and regrown": lines("s", [0, 1, 2, *range(70, 80)]),
    "regrown, nothing the same": lines("s", range(60, 80)),
    "equal size and times, from the start": lines("s", [8, 9, 2, 3, 4, 5]),
    "equal size and times, at the end": lines("s", [0, 1, 2, 3, 8, 9]),
    "turned round": lines("s", reversed(range(6))),
}


@scenario("R07", sweep=tuple(REWRITTEN))
async def a_rewritten_file_gives_its_new_lines_once(world: SimWorld, how: str) -> None:
    world.disordered = True
    await world.start()
    await world.client("c")
    world.write("s", 6)
    await world.settle()
    before, found = world.path("s").stat(), stored(world)
    with world.path("s").open("r+b") as out:  # in place, as an editor does not
        out.write(REWRITTEN[how])
        out.truncate()
    if how.startswith("equal size"):
        os.utime(world.path("s"), ns=(before.st_atime_ns, before.st_mtime_ns))
        after = world.path("s").stat()
        assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    world.hint(world.path("s"))
    world.owe("s", *known(REWRITTEN[how]))
    await world.settle()
    world.append("s", b"\n" * (how == "cut in a line") + lines("s", (90, 91)))
    world.owe("s", "s-90", "s-91")
    await world.settle()
    told = Counter(uuid for uuid in uuids(world, "s") if uuid is not None)
    assert set(told.values()) == {1}
    assert stored(world) >= found + 2  # the old rows stay


# -- R11, R14: hints that never came, files that cannot be read --------------------------------------------------------


@scenario("R11", seeds=3)
async def lost_hints_are_made_up_for_by_a_look_at_everything(world: SimWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s0", 2)
    await world.settle()
    hint, paths = world.hint, [world.path(f"s{n}") for n in range(20)]
    world.deaf = True
    for _ in range(100):
        world.write(f"s{world.draw.randrange(20)}", world.draw.randrange(1, 5))
    await world.calm()
    assert len(records(world, "s0")) == 2
    world.deaf = False
    for path in paths:
        hint(path)


def unreadable_file() -> bool:
    """Whether this system has a file whose reading fails."""
    return FAILS.is_file()


@scenario("R14", sweep=("a directory", "a link to itself", "a read that fails"))
async def a_file_that_cannot_be_read_is_left_alone_and_found_well_again(world: SimWorld, how: str) -> None:
    await world.start()
    await world.client("c", "all_conversations", "system")
    world.write("good", 2)
    await world.settle()
    bad = world.path("bad")
    if how == "a directory":
        bad.mkdir()
    elif how == "a link to itself":
        bad.symlink_to(bad)
    elif unreadable_file():
        bad.symlink_to(FAILS)
    else:
        print("skipped: this system has no file whose reading fails")
        return
    world.hint(bad)
    await world.pause(1)
    reads = world.node.ingest.gauges()["file_reads"]
    assert world.node.ingest.gauges()["unreadable_files"] == 1
    assert [part["status"] for part in world.node.ingest.components()] == ["degraded"]
    for _ in range(100):
        await world.pause(1)
        world.write("good")
    assert world.node.ingest.gauges()["file_reads"] - reads <= 100 + 8  # 1, 2, 4, 8 … seconds
    bad.rmdir() if how == "a directory" else bad.unlink()
    world.write("bad", 2)
    await world.settle()
    assert world.node.ingest.gauges()["unreadable_files"] == 0
    assert not [part for part in world.node.ingest.components() if part["status"] != "ok"]
