"""Every example of docs/protocol.md is run: requests against a real server, messages against its own of that kind."""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import open_websocket_url

from observatory.client.connection import Connection, connect
from observatory.core import closing, protocol, replies, requests
from observatory.core.client_items import Closed
from observatory.core.conversation import Conversation
from observatory.core.events import Draft, LogPosition, encode
from observatory.core.forgetting import Removal, drafts_of
from observatory.core.hook_events import Belonging, draft_of, hook_of, row_of
from observatory.core.project import Project
from observatory.demo.stream import stream
from observatory.ingest.health import Health
from observatory.server import upgrade, websocket
from observatory.storage import reader
from tests.running import serving
from tests.test_docs import calls, first_text, named, request_types
from tests.test_docs import text as page_text

PAGE = page_text("docs/protocol.md")
EXAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)]
ASKS = [example for example in EXAMPLES if "timestamp" not in example]
SAYS = [example for example in EXAMPLES if "timestamp" in example]
TOPICS = ["all_conversations", "project_updates", "file_events", "system"]
LINES = 250  # of the made-up stream: every kind of event comes
SECONDS = 60.0
PING_EVERY = "0.5"
UPDATES = {
    "conversation_update": {"id", "project_id", "session_id", "message_count", "file_path"},
    "project_update": {"id", "name", "path", "created_at", "updated_at", "last_activity"},
}
AT = "2026-01-01T00:00:00.000Z"
REMOVAL = Removal(
    (Conversation("c", "p", "s", "/c.jsonl", AT, AT, None, None),),
    Project("p", "w", "/w", "-w", True, AT, AT, AT),
    whole_project=True,
)
Message = dict[str, Any]


def stamp(at: float) -> str:
    minutes, seconds = divmod(at, 60)
    return f"2026-01-01T{int(minutes) // 60 % 24:02}:{int(minutes) % 60:02}:{seconds:06.3f}Z"


@attrs.define
class Real:
    """What a server said. answers: to each of ASKS, None if nothing came; messages: of every kind, by type."""

    answers: list[Message | None] = attrs.field(factory=list)
    messages: dict[str, list[Message]] = attrs.field(factory=dict)

    def note(self, message: Message) -> Message:
        self.messages.setdefault(message["type"], []).append(message)
        return message


@cache
def real() -> Real:
    """Made once: what follows only compares."""
    found = Real()
    with TemporaryDirectory() as folder:
        trio.run(gather, Path(folder), found)
    health = Health(lambda: 0)
    health.set("store", "degraded", "the disk is full")
    hook = hook_of({"hook_event_name": "PermissionRequest", "session_id": "5e1f", "tool_name": "Bash"}, None)
    told = draft_of(row_of(12, 0, hook, Belonging(None, "20a1b0672617")), ())
    seldom = [Draft("system_status", health.tell(), ()), *drafts_of(REMOVAL, {}), told]
    for draft in seldom:  # made by what the server makes them with
        found.note(json.loads(encode(draft.type, draft.data, 0, 1, "e")))
    found.note(json.loads(replies.resync("gap", LogPosition("e12345", 3, 1), 0)))
    return found


async def gather(folder: Path, found: Real) -> None:
    """A server that watches a transcript grow, its clients, and its end."""
    root = folder / "projects"
    root.mkdir()
    environ = {"OBSERVATORY_PING_SECONDS": PING_EVERY}
    with trio.fail_after(SECONDS):
        async with (
            serving(root, folder / "data", environ=environ) as server,
            connect(server.url, topics=TOPICS) as listener,
        ):
            await grow(root, listener, found)
            await told(listener, found, "subscribe", {"topics": ["weather"]})
            await told(listener, found, "get_subscriptions")
            await told(listener, found, "get_snapshot", {"limit": 200})
            for example in ASKS:
                if example["type"] == "auth":
                    found.answers.append(await answer_to_auth(example, root, folder, found))
                else:
                    found.answers.append(await answer_to(example, server.url, found))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.terminate)
                with pytest.raises(Closed, match=str(closing.CloseCode.RESTART.value)):
                    await hear_out(listener, found)


async def hear_out(listener: Connection, found: Real) -> None:
    """Take all that comes. Raises Closed."""
    while True:
        found.note(json.loads((await listener.receive()).text))


async def grow(root: Path, listener: Connection, found: Real) -> None:
    """Write transcripts, delete one, and take what comes of it."""
    transcripts = []
    for write in islice(stream(7, stamp), LINES):
        path = root / write.path
        if path.suffix == ".jsonl" and path.parent.parent == root:
            transcripts.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(write.data)
        await trio.lowlevel.checkpoint()
    transcripts[0].unlink()
    wanted = {"message_added", "conversation_started", "conversation_update", "project_update", "ping",
              "file_created", "file_modified", "file_deleted"}  # fmt: skip
    found.note(json.loads(listener.hello.text))
    while not wanted <= found.messages.keys():
        found.note(json.loads((await listener.receive()).text))
    while found.note(json.loads((await listener.receive()).text))["type"] != "ping":
        pass  # until a ping says that for a while there was nothing else


async def told(listener: Connection, found: Real, kind: str, data: Message | None = None) -> None:
    found.note(json.loads((await listener.request(kind, data)).text))


async def answer_to(example: Message, url: str, found: Real) -> Message | None:
    """Send a request as it stands, but for the position, which is of another log. None: nothing is answered to it."""
    async with connect(url) as connection:
        hello = json.loads(connection.hello.text)
        here = {"epoch": hello["data"]["position"]["epoch"], "seq": hello["data"]["position"]["head"] - 3}
        data = example.get("data", {})
        if example["type"] == "resume":
            data = data | here
        elif "resume" in data:
            data = data | {"resume": data["resume"] | here}
        await connection.send_text(json.dumps(example | ({"data": data} if data else {})))
        await connection.send_text('{"type":"ping","id":"after"}')
        while True:
            message = json.loads((await connection.receive()).text)
            if message.get("re") == example.get("id") or message.get("re") == "after":
                return None if message.get("re") == "after" else found.note(message)


async def answer_to_auth(example: Message, root: Path, folder: Path, found: Real) -> Message:
    """The first message of a client, to a server whose token is the page's."""
    token = folder / "page.token"
    token.touch(0o600)
    token.write_text(example["data"]["token"])
    environ = {"OBSERVATORY_AUTH": "token", "OBSERVATORY_TOKEN_FILE": str(token)}
    async with (
        serving(root, folder / "guarded", environ=environ) as server,
        open_websocket_url(server.url, subprotocols=["observatory.v1"]) as websocket,
    ):
        await websocket.send_message(json.dumps(example))
        return found.note(json.loads(await websocket.get_message()))


# -- requests ----------------------------------------------------------------------------------------------------------


def promised() -> dict[str, str]:
    """Request → reply, as the table of requests has it."""
    section = PAGE.partition("## Requests\n")[2].partition("\n```")[0]
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| `")]
    return {row[0].strip("| `"): row[-1].strip("| ").split(":")[0].split(" ")[0].strip("`") for row in rows}


def test_the_table_of_requests_has_them_all() -> None:
    assert promised().keys() == request_types()


@pytest.mark.parametrize("number", range(len(ASKS)), ids=[example["type"] for example in ASKS])
def test_a_request_is_answered_as_the_page_says(number: int) -> None:
    answer, kind = real().answers[number], promised()[ASKS[number]["type"]]
    if kind == "none":
        assert answer is None
        return
    assert answer is not None
    assert answer["type"] == kind, answer
    if "resume" in json.dumps(ASKS[number]):
        assert answer["data"]["recovered"] is True


# -- messages ----------------------------------------------------------------------------------------------------------


def differences(shown: object, found: list[Any], at: str = "") -> Iterator[str]:
    """Where an example has a key or a type that no real message has there, or lacks a key that all of them have."""
    kinds = {type(value) for value in found}
    if type(shown) not in kinds:
        yield f"{at}: {shown!r} is no {' or '.join(sorted(kind.__name__ for kind in kinds))}"
    elif isinstance(shown, dict):
        dicts = [value for value in found if isinstance(value, dict)]
        for key in set.intersection(*(set(value) for value in dicts)) - shown.keys():
            yield f"{at}.{key} is missing"
        for key, value in shown.items():
            theirs = [one[key] for one in dicts if key in one]
            yield from differences(value, theirs, f"{at}.{key}") if theirs else [f"{at}.{key} does not exist"]
    elif isinstance(shown, list):
        theirs = [item for value in found if isinstance(value, list) for item in value]
        for item in shown if theirs else []:
            yield from differences(item, theirs, f"{at}[]")


def opaque(message: Message) -> Message:
    """Without what people and programs bring with them: ids of requests, the input of a tool."""
    if "re" in message:
        message = message | {"re": None}
    return json.loads(re.sub(r'"(tool_input|input)": \{[^{}]*\}', r'"\1": {}', json.dumps(message)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("example", SAYS, ids=[example["type"] for example in SAYS])
def test_a_message_has_the_shape_of_the_servers_own(example: Message) -> None:
    same = [opaque(message) for message in real().messages[example["type"]]]
    if example["type"] == "subscription_confirmed":
        same = [message for message in same if ("recovered" in message["data"]) == ("recovered" in example["data"])]
    found = list(differences(opaque(example), same, example["type"]))
    if example["type"] in UPDATES:  # what has not changed is left out
        found = [text for text in found if not text.endswith("is missing")]
        assert example["data"].keys() >= UPDATES[example["type"]]
    assert found == []


def test_the_example_of_an_error_is_word_for_word_what_the_server_says() -> None:
    [shown] = [example for example in SAYS if example["type"] == "error"]
    assert shown["data"] in [message["data"] for message in real().messages["error"]]


def test_the_first_frame_shows_the_limits_and_times_in_force() -> None:
    [shown] = [example for example in SAYS if example["type"] == "connection_established"]
    assert shown["data"]["limits"] == attrs.asdict(replies.WireLimits())
    timing = replies.Timing()
    assert shown["data"]["ping"] == {
        "interval_ms": timing.ping_interval * 1000,
        "timeout_ms": timing.ping_timeout * 1000,
    }
    assert shown["data"]["retry"] == {"min_ms": timing.retry_min_ms, "max_ms": timing.retry_max_ms}


def test_a_shape_that_differs_is_found() -> None:
    real_ones = [{"a": 1, "b": [{"c": "x"}]}, {"a": None, "b": [], "d": 1}]
    assert list(differences({"a": None, "b": [{"c": "y"}], "d": 2}, real_ones)) == []
    assert list(differences({"a": "x", "b": [{"e": 1}]}, real_ones)) == [
        ".a: 'x' is no NoneType or int",
        ".b[].c is missing",
        ".b[].e does not exist",
    ]
    assert list(differences({"a": 1}, real_ones)) == [".b is missing"]


# -- both directions ---------------------------------------------------------------------------------------------------


def codes_of(section: str) -> set[str]:
    """The codes in the first column of a section's table."""
    part = PAGE.partition(f"# {section}\n")[2].partition("\n#")[0]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", part, re.MULTILINE))


def test_no_error_code_and_no_close_code_is_documented_that_the_code_does_not_know() -> None:
    known = {code for call in calls() if named(call) == "RequestError" and (code := first_text(call))}
    assert codes_of("Errors") == known
    rows = re.findall(r"^\| (\d{4}) \| ([A-Z_0-9]+) \|", PAGE, re.MULTILINE)
    assert {(int(code), name) for code, name in rows} == {(code.value, code.name) for code in closing.CloseCode}


def test_no_message_type_is_documented_that_the_code_does_not_know() -> None:
    control = PAGE.partition("**Control messages**")[2].partition(") have neither")[0].partition("*later*")[0]
    sayers = ("message", "standing", "_standing")
    sent = {name for call in calls() if named(call) in sayers and (name := first_text(call))}
    assert set(re.findall(r"`([a-z_]+)`", control)) == sent
    events = re.findall(r"^### ([a-z_, ]+)$", PAGE.partition("## Events")[2].partition("## Broadcast")[0], re.MULTILINE)
    drafted = {name for call in calls() if named(call) == "Draft" and (name := first_text(call))}
    shown = {name for title in events for name in title.split(", ")}
    assert drafted <= shown
    assert shown <= real().messages.keys()


TIMING, LIMITS = replies.Timing(), replies.WireLimits()
STATED = [
    f"larger than {upgrade.MAX_HEAD // 1024} KiB",
    f"`Retry-After` is random, {upgrade.BUSY[0]} to {upgrade.BUSY[1]}",
    f"not complete after {TIMING.handshake:.0f} s",
    f"a valid request within {TIMING.first_request:.0f} s",
    f"a string of at most {requests.MAX_ID_LENGTH} characters",
    f"{requests.EPOCH_LENGTHS.start} to {requests.EPOCH_LENGTHS.stop - 1} characters",
    f"`limit?` 1 to {requests.SNAPSHOT_LIMIT:,} conversations (default {requests.SNAPSHOT_LIMIT:,})",
    f"more than {requests.MAX_NESTING} deep",
    f"more than {requests.MAX_TOPICS} topics in one request, or held",
    f"at most {LIMITS.message_bytes // 1024} KiB with all fragments",
    f"{protocol.REQUESTS_PER_S:.0f} requests a second, {protocol.REQUEST_BURST:.0f} saved up",
    f"the {protocol.FLOOD[1]}th discard within {protocol.FLOOD[0]:.0f} s closes with 4013",
    f"The tenth error reply within {protocol.ERRORS[0]:.0f} s",
    f"{websocket.MAX_REPLIES_WAITING} replies waiting to be written",
    f"Up to {LIMITS.outbox_frames:,} frames or {LIMITS.outbox_bytes >> 20} MiB wait",
    f"pages of at most {reader.PAGE_EVENTS} events or {reader.PAGE_BYTES // 1024} KiB",
    f"Every {TIMING.ping_interval:.0f} s, and whenever",
    f"nothing came for {TIMING.ping_interval + TIMING.ping_timeout:.0f} s",
    f"within {TIMING.close_timeout:.0f} s becomes a reset",
]


@pytest.mark.parametrize("sentence", STATED)
def test_a_limit_is_stated_as_it_is_in_the_code(sentence: str) -> None:
    assert sentence in " ".join(PAGE.split())
    assert protocol.ERRORS[1] == 10
