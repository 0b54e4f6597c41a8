"""The ways a notice goes out: to the desktop, and to web hooks, signed and tried again."""

import hmac
import random
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from subprocess import DEVNULL
from typing import Protocol
from urllib.parse import urlsplit

import attrs
import httpx
import orjson
import structlog
import trio

from observatory.core.errors import UsageError
from observatory.core.neutral import neutral
from observatory.core.notices import Notice

log = structlog.get_logger()
SLACK = "slack+"
ATTEMPTS = 6
PAUSES = (1.0, 60.0)  # seconds before the second attempt, and at most
TIMEOUT = 10.0
DESKTOP_TIMEOUT = 5.0
DESKTOP = "notify-send"
PASSING = frozenset({408, 425, 429})  # answers, beside 5xx, after which another attempt is worth it


class Failed(Exception):
    """It did not go out. after: seconds to wait for that long, if the other side said so; final: it never will."""

    def __init__(self, reason: str, *, after: float | None = None, final: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.final = final


class Way(Protocol):
    """One of them."""

    @property
    def name(self) -> str:
        """For logs and the status: nothing secret is in it."""
        ...

    async def send(self, notice: Notice, delivery: str) -> None:
        """Send it once. delivery: the same for all attempts. Raises Failed."""
        ...


@attrs.frozen
class Desktop:
    """The notification service of the desktop that the server runs in."""

    @property
    def name(self) -> str:
        """What it is."""
        return "desktop"

    async def send(self, notice: Notice, delivery: str) -> None:
        """Show it."""
        words = [DESKTOP, "--app-name=Observatory", "--", "Claude Code", neutral(notice.text)]
        run = partial(trio.run_process, words, capture_stderr=True, check=False, stdin=b"")
        with trio.move_on_after(DESKTOP_TIMEOUT):
            try:
                done = await run(stdout=DEVNULL)
            except OSError as error:
                raise Failed(f"{DESKTOP} cannot be started ({error.strerror})", final=True) from None
            if done.returncode:
                raise Failed(f"{DESKTOP} ended with {done.returncode}", final=True)
            return
        raise Failed(f"{DESKTOP} did not end", final=True)


@attrs.frozen
class Webhook:
    """url: with `slack+` before it, Slack's shape. secret: signs what is sent. about: this server, for who gets it."""

    url: str = attrs.field(repr=False)
    secret: bytes | None = attrs.field(repr=False)
    about: Mapping[str, str]
    now: Callable[[], float]
    client: httpx.AsyncClient = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The host."""
        return urlsplit(self.url.removeprefix(SLACK)).netloc.rpartition("@")[2]

    async def send(self, notice: Notice, delivery: str) -> None:
        """Post it."""
        slack = self.url.startswith(SLACK)
        body = orjson.dumps(slack_shape(notice) if slack else shape(notice, delivery, self.about))
        headers = {"Content-Type": "application/json", "X-Observatory-Delivery": delivery}
        if self.secret is not None:
            headers["X-Observatory-Signature"] = signature(self.secret, round(self.now()), body)
        try:
            with trio.fail_after(TIMEOUT):
                request = self.client.stream("POST", self.url.removeprefix(SLACK), content=body, headers=headers)
                async with request as answer:  # nothing of its body is read, however long that is
                    _judge(answer)
        except trio.TooSlowError:
            raise Failed("no answer in time") from None
        except httpx.HTTPError as error:
            raise Failed(type(error).__name__) from None


def _judge(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    status = answer.status_code
    passing = status >= 500 or status in PASSING
    after = answer.headers.get("retry-after", "")
    raise Failed(f"answered {status}", after=float(after) if after.isdigit() else None, final=not passing)


def shape(notice: Notice, delivery: str, about: Mapping[str, str]) -> dict[str, object]:
    """A notice as JSON."""
    return {
        "id": delivery,
        "kind": notice.kind,
        "text": notice.text,
        "conversation_id": notice.conversation_id,
        "title": notice.title,
        "project_id": notice.project_id,
        "at": notice.at,
        **about,
    }


def slack_shape(notice: Notice) -> dict[str, str]:
    """A notice as Slack takes it: three characters mean something there."""
    text = neutral(notice.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"Claude Code {text}"}


def signature(secret: bytes, now: int, body: bytes) -> str:
    """The header that shows who sent a body, and when."""
    return f"t={now},v1={hmac.new(secret, b'%d.%b' % (now, body), 'sha256').hexdigest()}"


def checked(url: str) -> str:
    """A web hook's address. Raises UsageError: it is none, or would go over a network unencrypted."""
    try:
        found = urlsplit(url.removeprefix(SLACK))
        host, _ = found.hostname, found.port
    except ValueError:
        host = None
    if host is None or found.scheme not in ("http", "https"):
        raise UsageError("notify_webhooks: an address begins with https:// (or slack+https://), and names a host")
    if found.scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"notify_webhooks: {neutral(host)} is another machine, so its address has to begin with https://"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def deliver(way: Way, notice: Notice, *, attempts: int = ATTEMPTS) -> None:
    """Send it, again and again while that may help. Raises Failed: the last one."""
    delivery, pause = secrets.token_hex(8), PAUSES[0]
    for attempt in range(1, attempts + 1):
        try:
            await way.send(notice, delivery)
            return
        except Failed as failure:
            if failure.final or attempt == attempts:
                raise
            await trio.sleep(min(PAUSES[1], failure.after or pause * random.uniform(0.5, 1.5)))
            pause = min(PAUSES[1], 2 * pause)
