"""A browser that is driven: a page is opened, and looked at until it shows what is waited for."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.browser import FLAGS, chromium

DEADLINE = 30.0
MESSAGE_BYTES = 64 * 1024 * 1024


@attrs.define(eq=False)
class Tab:
    """One page, by the protocol of the browser's own tools."""

    socket: WebSocketConnection
    session: str = ""
    said: list[dict[str, Any]] = attrs.field(factory=list)
    _ids: Any = attrs.field(factory=lambda: count(1))

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; what the browser tells meanwhile is kept in `said`."""
        id = next(self._ids)
        command = {"id": id, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        with trio.fail_after(DEADLINE):
            await self.socket.send_message(orjson.dumps(command).decode())
            while True:
                message = orjson.loads(await self.socket.get_message())
                if message.get("id") == id:
                    assert "error" not in message, message
                    found: dict[str, Any] = message["result"]
                    return found
                self.said.append(message)

    async def open(self, url: str) -> None:
        """Go there, and wait until all of it is loaded."""
        await self.do("Page.navigate", url=url)
        await self.until("location.href != 'about:blank' && document.readyState == 'complete'")

    async def value(self, script: str) -> Any:
        """What an expression is on the page."""
        found = await self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str) -> None:
        """Look until an expression is true."""
        with trio.move_on_after(DEADLINE) as waiting:
            while not await self.value(script):  # noqa: ASYNC110 - a page has no event
                await trio.sleep(0.05)
        if waiting.cancelled_caught:
            shown = await self.value("location.href + ' shows:\\n' + document.body.innerText")
            raise AssertionError(f"never: {script}\n{shown[:2000]}\n{self.complaints()}")

    def complaints(self) -> list[str]:
        """Errors that the page met: of scripts, of its policy, of what it loads."""
        entries = [one["params"]["entry"] for one in self.said if one.get("method") == "Log.entryAdded"]
        thrown = [str(one["params"]) for one in self.said if one.get("method") == "Runtime.exceptionThrown"]
        return [*(entry["text"] for entry in entries if entry["level"] == "error"), *thrown]


@asynccontextmanager
async def driving(profile: Path, *flags: str) -> AsyncIterator[Tab]:
    """A browser of its own, while the block runs."""
    words = [chromium(), *FLAGS, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:  # noqa: ASYNC220
        try:
            told = profile / "DevToolsActivePort"
            with trio.fail_after(DEADLINE):
                while not told.exists() or len(told.read_text().split()) < 2:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            port, path = told.read_text().split()
            url = f"ws://127.0.0.1:{port}{path}"
            async with open_websocket_url(url, max_message_size=MESSAGE_BYTES) as socket:
                tab = Tab(socket)
                target = await tab.do("Target.createTarget", url="about:blank")
                attached = await tab.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                tab.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Log"):
                    await tab.do(f"{domain}.enable")
                yield tab
        finally:
            browser.terminate()
