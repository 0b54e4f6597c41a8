"""A node with its HTTP API on a real port, some conversations, and a client that checks every answer's shape."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import msgspec
import trio

from observatory.api.mount import answer_http
from observatory.api.routes import ROUTES
from observatory.core.handshake import Policy
from observatory.monitor import FileMonitor
from observatory.server.connections import ConnectionManager
from observatory.server.listener import listen
from observatory.server.oneport import HttpLimits
from tests.ingest.stage import prompt, reply, result, use

API = "/api/v1"
DEADLINE = 20.0
ONE, TWO = "5e1f-one", "7a2b-two"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


@attrs.define(eq=False)
class Stage:
    """A running node. `get` and `post` check that an answer is of its route's class, and tells its position."""

    monitor: FileMonitor
    manager: ConnectionManager
    root: Path
    port: int
    http: httpx.AsyncClient

    async def get(self, path: str, code: int = 200, /, **query: Any) -> Any:
        """The body of an answer; of JSON as a value."""
        params = {key: ("true" if value is True else value) for key, value in query.items()}
        return self._checked("GET", path, code, await self.http.get(API + path, params=params))

    async def post(self, path: str, body: Any = None, code: int = 200, /, **headers: str) -> Any:
        """The same."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._checked("POST", path, code, await self.http.post(API + path, json=body or {}, headers=sent))

    def _checked(self, method: str, path: str, status: int, answer: httpx.Response) -> Any:
        assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in answer.headers
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return answer
        found = answer.json()
        if status >= 400 and "error" in found:
            assert set(found["error"]) == {"code", "message"}
            return found
        assert {"epoch", "seq"} == set(found["position"])
        shape = route_of(method, path).replies[status]
        assert shape is not None
        msgspec.convert(found, strictly(shape), strict=True)
        return found

    def write(self, name: str, *lines: bytes) -> None:
        """Append lines to a transcript."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    async def sees(self, path: str, found: Callable[[Any], bool]) -> Any:
        """Ask until an answer is so."""
        with trio.fail_after(DEADLINE):
            while not found(told := await self.get(path)):  # noqa: ASYNC110 - what HTTP gives has no event
                await trio.sleep(0.02)
        return told

    async def until(self, head: int) -> None:
        """Until the log is that far."""
        with trio.fail_after(DEADLINE):
            await self.monitor.router.wait_beyond(head - 1)

    async def settled(self) -> None:
        """Until what was written is in the archive, with its books."""
        with trio.fail_after(DEADLINE):
            while True:
                await trio.sleep(0.02)
                before = self.monitor.events.position.head
                if before and before == self.monitor.router.head:
                    await trio.sleep(0.05)
                    if self.monitor.events.position.head == before:
                        return


def strictly(shape: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A class that refuses fields it does not know: what is not described is not to be given."""
    required = msgspec.NODEFAULT
    fields = [
        (one.encode_name, one.type) if one.default is required else (one.encode_name, one.type, one.default)
        for one in msgspec.structs.fields(shape)
    ]
    return msgspec.defstruct(shape.__name__, fields, kw_only=True, forbid_unknown_fields=True)


def route_of(method: str, path: str) -> Any:
    """The route of a path."""
    wanted = (API + path).split("/")
    for route in ROUTES:
        parts = route.path.split("/")
        same = all(part.startswith("{") or part == given for part, given in zip(parts, wanted, strict=False))
        if route.method == method and len(parts) == len(wanted) and same:
            return route
    raise AssertionError(f"no route {method} {path}")


def picture(at: int, **fields: Any) -> bytes:
    """A prompt with an image."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": "see this"}, {"type": "image", "source": source}]
    return prompt(at, **fields, message={"role": "user", "content": content})


@asynccontextmanager
async def staged(
    directory: Path,
    *,
    policy: Policy | None = None,
    token: Any = None,
    tls: ssl.SSLContext | None = None,
    limits: HttpLimits | None = None,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """A node over two conversations, one with a tool call and a picture, which it knew before."""
    root = directory / "projects"
    first = root / "-w" / f"{ONE}.jsonl"
    first.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        prompt(0, "why is the cart wrong", sessionId=ONE),
        use("t1", name="Bash", at=1, asked={"command": "ls"}, sessionId=ONE),
        result("t1", at=2, sessionId=ONE),
        reply(3, "m9", output=50, sessionId=ONE),
        picture(4, sessionId=ONE, uuid="pic"),
    ]
    first.write_bytes(b"\n".join(lines) + b"\n")
    second = root / "-v" / f"{TWO}.jsonl"
    second.parent.mkdir(parents=True, exist_ok=True)
    second.write_bytes(prompt(0, "make it blue", sessionId=TWO, cwd="/v", uuid="other") + b"\n")
    async with FileMonitor([root], directory / "data", **settings) as monitor, trio.open_nursery() as nursery:
        manager = ConnectionManager(monitor, policy=policy, token=token, tls=tls, measures=monitor.measures)
        answer_http(monitor, manager, policy=policy, limits=limits)
        listeners = await listen("127.0.0.1", 0)
        nursery.start_soon(manager.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        await monitor.wait_imported()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE, headers=headers) as http:
            stage = Stage(monitor, manager, root, port, http)
            await stage.settled()
            yield stage
        nursery.cancel_scope.cancel()
