"""Notices go out of a real log, through real ways: a program, and servers that answer well, badly, slowly or never."""

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h11
import httpx
import orjson
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from observatory.core.batch import Batch
from observatory.core.errors import UsageError
from observatory.core.events import Draft
from observatory.core.notices import KINDS, Notice, Notices, Spending
from observatory.notify import notifier, ways
from observatory.notify.notifier import Notifier
from observatory.notify.ways import Desktop, Failed, Webhook, checked, deliver, signature, slack_shape
from observatory.storage.log import EventLog
from observatory.storage.reader import LogReader
from tests.reports import Reports

NOTICE = Notice("waiting", "waits for you: <Cart> & more", 1_795_381_200.0, "c1", "Cart", "p1")
NOW = 1_795_381_200.0
SECONDS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(ways, "PAUSES", (0.01, 0.05))
    monkeypatch.setattr(ways, "TIMEOUT", 0.5)


@attrs.define
class Hook:
    """A server for web hooks. answers: status and headers, one a request; the last one from then on."""

    answers: list[tuple[int, dict[str, str]]]
    silent: bool = False
    endless: bool = False
    got: list[tuple[dict[str, str], bytes]] = attrs.field(factory=list)
    url: str = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        head, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        assert head is not None
        self.got.append(({name.decode(): value.decode() for name, value in head.headers}, body))
        if self.silent:
            await trio.sleep_forever()
        status, headers = self.answers[min(len(self.got), len(self.answers)) - 1]
        if self.endless:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await stream.send_all(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        answer = h11.Response(status_code=status, headers=[*headers.items(), ("Content-Length", "0")])
        data = (connection.send(answer) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        await stream.send_all(data)


@asynccontextmanager
async def hooked(
    *answers: int | tuple[int, dict[str, str]], silent: bool = False, endless: bool = False
) -> AsyncIterator[Hook]:
    hook = Hook([answer if isinstance(answer, tuple) else (answer, {}) for answer in answers], silent, endless)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await hook.serve(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            hook.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/hooks/secretpart"
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield hook
            nursery.cancel_scope.cancel()


def webhook(client: httpx.AsyncClient, url: str, secret: bytes | None = None) -> Webhook:
    return Webhook(url, secret, {"machine": "box"}, lambda: NOW, client)


async def test_a_notice_is_posted_as_json_and_signed() -> None:
    async with hooked(200) as hook, httpx.AsyncClient() as client:
        await deliver(webhook(client, hook.url, b"sesame"), NOTICE)
        ((headers, body),) = hook.got
        found = orjson.loads(body)
        assert found == {
            "id": headers["x-observatory-delivery"], "kind": "waiting", "text": NOTICE.text, "conversation_id": "c1",
            "title": "Cart", "project_id": "p1", "at": NOW, "machine": "box",
        }  # fmt: skip
        stamp, mac = (part.partition("=")[2] for part in headers["x-observatory-signature"].split(","))
        assert stamp == str(round(NOW))
        assert hmac.compare_digest(mac, hmac.new(b"sesame", f"{stamp}.".encode() + body, "sha256").hexdigest())


async def test_slack_gets_its_own_shape() -> None:
    async with hooked(200) as hook, httpx.AsyncClient() as client:
        way = webhook(client, f"slack+{hook.url}")
        await deliver(way, NOTICE)
        assert orjson.loads(hook.got[0][1]) == {"text": "Claude Code waits for you: &lt;Cart&gt; &amp; more"}
        assert "secretpart" not in way.name
        assert "secretpart" not in repr(way)
    assert slack_shape(Notice("error", "\x1b[31m", 0))["text"] == "Claude Code ␛[31m"


async def test_what_may_pass_is_tried_again_as_the_same_delivery() -> None:
    async with hooked(500, (429, {"Retry-After": "0"}), 503, 204) as hook, httpx.AsyncClient() as client:
        await deliver(webhook(client, hook.url), NOTICE)
        assert len({headers["x-observatory-delivery"] for headers, _ in hook.got}) == 1
        assert len(hook.got) == 4


@pytest.mark.parametrize(("answer", "attempts"), [(404, 1), (301, 1), (500, 6)])
async def test_what_will_not_help_is_given_up(answer: int, attempts: int) -> None:
    async with hooked(answer) as hook, httpx.AsyncClient() as client:
        with pytest.raises(Failed, match=f"answered {answer}"):
            await deliver(webhook(client, hook.url), NOTICE)
        assert len(hook.got) == attempts


async def test_silence_an_endless_answer_and_nobody_there_end_in_time() -> None:
    async with hooked(200, silent=True) as hook, httpx.AsyncClient() as client:
        with pytest.raises(Failed, match="no answer in time"):
            await deliver(webhook(client, hook.url), NOTICE, attempts=1)
    async with hooked(200, endless=True) as hook, httpx.AsyncClient() as client:
        await deliver(webhook(client, hook.url), NOTICE, attempts=1)
    async with httpx.AsyncClient() as client:
        with pytest.raises(Failed, match="ConnectError"):
            await deliver(webhook(client, hook.url), NOTICE, attempts=1)


def program(directory: Path, text: str) -> None:
    file = directory / "notify-send"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


async def test_the_desktop_shows_it_by_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/args')
    await Desktop().send(Notice("error", "met an error: --help \x1b", 0), "d")
    assert (tmp_path / "args").read_text().splitlines() == [
        "--app-name=Observatory", "--", "Claude Code", "met an error: --help ␛"
    ]  # fmt: skip
    program(tmp_path, "exit 3")
    with pytest.raises(Failed, match="ended with 3"):
        await Desktop().send(NOTICE, "d")
    monkeypatch.setattr(ways, "DESKTOP_TIMEOUT", 0.1)
    program(tmp_path, "exec sleep 60")
    with pytest.raises(Failed, match="did not end"):
        await Desktop().send(NOTICE, "d")
    (tmp_path / "notify-send").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match="cannot be started"):
        await Desktop().send(NOTICE, "d")


@pytest.mark.parametrize("url", ["ftp://x", "https://", "x", "http://example.org/", "http://10.0.0.1/", "https://[x/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="notify_webhooks"):
        checked(url)


@pytest.mark.parametrize(
    "url", ["https://example.org/x", "slack+https://hooks.slack.com/y", "http://localhost:1/", "http://[::1]/"]
)
def test_addresses_that_are_fine(url: str) -> None:
    assert checked(url) == url


def test_a_signature_is_of_time_and_body() -> None:
    assert signature(b"s", 1, b"x") != signature(b"s", 2, b"x") != signature(b"t", 2, b"x")


# -- from the log ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def following(
    directory: Path, *ways: Any, spending: Spending | None = None, spent: Any = None
) -> AsyncIterator[tuple[EventLog, Notifier]]:
    log, clock = EventLog(directory, "boot"), trio.current_time()
    reader = LogReader(log)
    made = Notifier(
        reader, ways, Notices(frozenset(KINDS)), lambda: trio.current_time() - clock, Reports(), spending, spent
    )
    try:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.run)
                await wait_all_tasks_blocked()
                yield log, made
                nursery.cancel_scope.cancel()
    finally:
        reader.close()
        log.close()


def tell(log: EventLog, type_: str, **data: object) -> None:
    log.append(Batch(drafts=[Draft(type_, data, ("all_conversations", f"conversation:{data['id']}"))]), 1000)


def heard(made: Notifier) -> list[dict[str, Any]]:
    """What it has said of the health of its ways."""
    assert isinstance(made._report, Reports)
    return made._report.components()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another task or process does it
        await trio.sleep(0.01)


async def test_what_is_committed_from_now_on_is_told(tmp_path: Path) -> None:
    async with hooked(200) as hook, httpx.AsyncClient() as client:
        before = EventLog(tmp_path, "boot")
        tell(before, "conversation_update", id="c0", status="error")
        before.close()
        async with following(tmp_path, webhook(client, hook.url)) as (log, made):
            tell(log, "conversation_update", id="c1", title="Cart", status="error")
            tell(log, "conversation_update", id="c2", status="error")
            await until(lambda: len(hook.got) == 2)
            assert orjson.loads(hook.got[0][1])["text"] == "met an error: Cart"
            await until(lambda: made.counters()["notices"].popitem()[1] == {"sent": 2, "failed": 0, "dropped": 0})
            assert heard(made) == []


async def test_a_way_that_hangs_costs_only_its_own_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ATTEMPTS", 1)
    monkeypatch.setattr(notifier, "WAITING", 1)
    async with hooked(200, silent=True) as dead, hooked(200) as well, httpx.AsyncClient() as client:
        bad, good = webhook(client, dead.url), webhook(client, well.url)
        async with following(tmp_path, bad, good) as (log, made):
            for number in range(8):
                tell(log, "conversation_update", id=f"c{number}", status="error")
                await until(lambda number=number: len(well.got) > number)  # type: ignore[misc]
            counts = made.counters()["notices"]
            assert counts[good.name]["sent"] >= 7
            assert counts[bad.name]["dropped"] >= 5
            await until(lambda: bool(heard(made)))
            (part,) = heard(made)
            assert part["component_name"] == f"notify:{bad.name}"
            assert part["status"] == "degraded"


async def test_a_budget_that_is_passed_is_told(tmp_path: Path) -> None:
    async def spent() -> tuple[str, float]:
        return "2026-11-25", 12.0

    async with (
        hooked(200) as hook,
        httpx.AsyncClient() as client,
        following(tmp_path, webhook(client, hook.url), spending=Spending(10.0), spent=spent),
    ):
        await until(lambda: len(hook.got) == 1)
        assert orjson.loads(hook.got[0][1])["kind"] == "budget"


async def test_what_is_forgotten_or_trimmed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    async with (
        hooked(200) as hook,
        httpx.AsyncClient() as client,
        following(tmp_path, webhook(client, hook.url)) as (log, _),
    ):
        tell(log, "conversation_update", id="c1", activity="working")
        tell(log, "conversation_update", id="c1", activity="idle")
        tell(log, "conversation_forgotten", id="c1")
        somebody = orjson.Fragment(orjson.dumps("a broadcast of theirs"))
        log.append(Batch(drafts=[Draft("conversation_forgotten", somebody, ("all_conversations",))]), 1000)
        log._db.execute("UPDATE events SET payload = x'' WHERE seq = 1")
        tell(log, "conversation_update", id="c2", status="error")
        await until(lambda: len(hook.got) == 1)
        assert orjson.loads(hook.got[0][1])["conversation_id"] == "c2"


async def test_a_defect_of_a_way_costs_one_notice(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        async def send(self, notice: Notice, delivery: str) -> None:
            raise ZeroDivisionError

    async with (
        hooked(200) as hook,
        httpx.AsyncClient() as client,
        following(tmp_path, Broken(), webhook(client, hook.url)) as (log, made),
    ):
        for number in range(2):
            tell(log, "conversation_update", id=f"c{number}", status="error")
            await until(lambda number=number: len(hook.got) > number)  # type: ignore[misc]
        await until(lambda: made.counters()["notices"]["broken"]["failed"] == 2)
        assert heard(made)[0]["details"] == "ZeroDivisionError"
