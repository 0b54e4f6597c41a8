"""An HTTP client of a few lines: what it is given goes out as it is, and an answer is read piece by piece."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import h11
import trio

DEADLINE = 20.0


@attrs.define(eq=False)
class Answer:
    """One answer, as far as it has come."""

    stream: trio.SocketStream
    parser: h11.Connection
    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    _text: bytes = b""

    async def head(self) -> "Answer":
        """Its first lines."""
        event = await self._next()
        assert isinstance(event, h11.Response), event
        self.status = event.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        return self

    async def line(self) -> str:
        """The next line of the body. Raises EndOfChannel at its end."""
        while b"\n" not in self._text:
            event = await self._next()
            if not isinstance(event, h11.Data):
                raise trio.EndOfChannel
            self._text += bytes(event.data)
        found, self._text = self._text.split(b"\n", 1)
        return found.decode()

    async def body(self) -> bytes:
        """What is left of it."""
        while isinstance(event := await self._next(), h11.Data):
            self._text += bytes(event.data)
        return self._text

    async def _next(self) -> object:
        with trio.fail_after(DEADLINE):
            while (event := self.parser.next_event()) is h11.NEED_DATA:
                self.parser.receive_data(await self.stream.receive_some())
            return event


@asynccontextmanager
async def asking(
    port: int, target: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes = b""
) -> AsyncIterator[Answer]:
    """Ask on a connection of its own. Headers are as given, but for Host."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        parser = h11.Connection(h11.CLIENT)
        fields = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        if body or method == "POST":
            fields["Content-Length"] = str(len(body))
        parser.send(h11.Request(method=method, target="/", headers=list(fields.items())))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        yield await Answer(stream, parser).head()
