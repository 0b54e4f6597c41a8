"""R: lines of any bytes and of any length."""

import random
import resource
from typing import Any

import orjson

from tests.faults.archived import records, stored
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld
from tests.faults.transcripts import prompt

MIB = 1024 * 1024
LINE_CAP = 64 * MIB  # beyond, a line is one oversize record


def odd(draw: random.Random, file: str, number: int) -> bytes:
    """A line without its newline: not JSON, not UTF-8, not a record, or a record that is not as they are."""
    good = prompt(file, number).rstrip(b"\n")
    found = orjson.loads(good)
    junk = draw.randbytes(draw.randrange(1, 200)).replace(b"\n", b"?")
    at = draw.randrange(len(good))
    values: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, [], {}, "x", [{}], {"type": 3}, "\\ud800")
    match draw.randrange(12):
        case 0:
            return junk
        case 1:
            return good[:at] + junk + good[at:]
        case 2:
            return good.replace(b"xxxx", b"\xff\xfe\xc3(", 1)
        case 3:
            return b"\xef\xbb\xbf" + good
        case 4:
            return good + b"\r"
        case 5:
            return good.replace(b"xxxx", draw.choice((b"\\ud800", b"\\udc00\\ud800", b"\xed\xa0\x80")), 1)
        case 6:
            return good[:-1] + b',"n":' + draw.choice((b"NaN", b"-Infinity", b"1e999", b"9" * 5000)) + b"}"
        case 7:
            deep = draw.choice((100, 300, 3000, 100_000))
            return good[:-1] + b',"deep":' + b"[" * deep + b"]" * deep + b"}"
        case 8:
            found["type"] = draw.choice(("quantum-leap", "", "x" * 300))
        case 9:
            found[draw.choice(tuple(found))] = draw.choice(values)
        case 10:
            found["message"][draw.choice(("role", "content", "usage", "id"))] = draw.choice(values)
        case _:
            return draw.choice((b"null", b"[]", b'"text"', b"12", b"{}", b"[{}]", b"\0", b" ", b"{" * 500))
    try:
        return orjson.dumps(found)
    except TypeError:  # 10**30
        return good.replace(b"null", b"1" + b"0" * 30, 1)


@scenario("R05", seeds=8)
async def bytes_of_any_kind_are_events_or_errors_and_harm_nobody(world: SimWorld) -> None:
    await world.start()
    peer = await world.client("c", "all_conversations", "project_updates", "file_events", "system")
    for n in range(100):
        file = f"f{n % 10}"
        world.write(file)
        world.append(file, odd(world.draw, file, 100_000 + n) + b"\n")
        if not n % 10:
            await world.calm()
    await world.settle()
    for frame in peer.witness.frames:
        frame.payload.decode()
    assert not any(entry["event"] == "line.failed" for entry in world.logged)
    assert stored(world) > 150


@scenario("R06")
async def a_huge_line_is_whole_or_one_error_and_costs_no_memory(world: SimWorld) -> None:
    world.page_bytes += 2 * MIB  # one frame of that size is admitted by an empty outbox
    await world.start()
    await world.client("c")
    world.write("whole")
    world.append("whole", prompt("whole", 1, 2 * MIB))
    world.owe("whole", "whole-1")
    world.write("endless")
    await world.settle()
    assert records(world, "whole")[1]["length"] > 2 * MIB
    before = peak()
    with world.path("endless").open("ab") as out:  # sparse: it is long, and takes no room
        out.write(b'{"type":"user","text":"')
        out.truncate(out.tell() + 1024 * MIB)
    world.hint(world.path("endless"))
    await world.settle()
    assert len(records(world, "endless")) == 1
    world.append("endless", b"\n" + prompt("endless", 9))
    world.owe("endless", "endless-9")
    await world.settle()
    _, bad, good = records(world, "endless")
    assert (bad["kind"], bad["error"], good["uuid"]) == ("error", "oversize line", "endless-9")
    assert bad["length"] > 1024 * MIB
    assert peak() - before <= LINE_CAP


def peak() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
