"""In a real browser: a page of another origin cannot connect, one on the list can, and a link lets a browser in."""

import time
from pathlib import Path

import trio

from observatory.core.handshake import LOOPBACK_NAMES, Policy
from observatory.core.login import mint
from tests.browser import Page, dom_of, served
from tests.server.serving import serving

TOKEN = "k" * 43
HTML = """<!doctype html><title>a page</title><script>
const say = what => fetch("/said/" + encodeURIComponent(what + ", cookies: [" + document.cookie + "]"))
const socket = new WebSocket("ws://127.0.0.1:PORT/ws", "observatory.v1")
let heard = false
socket.onmessage = event => { heard = true; say("heard " + JSON.parse(event.data).type) }
socket.onclose = event => { if (!heard) say("closed " + event.code) }
</script>"""


async def said(page: Page, port: int, profile: Path) -> str:
    page.html = HTML.replace("PORT", str(port))
    return await trio.to_thread.run_sync(page.visit, profile)


async def test_a_page_of_another_origin_cannot_connect(tmp_path: Path) -> None:
    with served(Page(HTML)) as page:
        async with serving(tmp_path) as running:
            assert await said(page, running.port, tmp_path / "profile") == "closed 1006, cookies: []"
            assert running.server.counters.refused == {403: 1}
            assert running.server.counters.accepted == 0


async def test_a_page_of_an_origin_on_the_list_can(tmp_path: Path) -> None:
    with served(Page(HTML)) as page:
        async with serving(tmp_path, policy=Policy(LOOPBACK_NAMES, frozenset({page.origin}))) as running:
            told = await said(page, running.port, tmp_path / "profile")
            assert told == "heard connection_established, cookies: []"
            assert running.server.counters.refused == {}


async def test_a_link_lets_a_browser_in_and_no_script_sees_the_cookie(tmp_path: Path) -> None:
    with served(Page(HTML)) as page:
        policy = Policy(LOOPBACK_NAMES, frozenset({page.origin}))
        async with serving(tmp_path, policy=policy, token=lambda: TOKEN) as running:
            link = f"http://127.0.0.1:{running.port}/login/{mint(TOKEN, time.time(), b'n' * 16)}"
            shown = await trio.to_thread.run_sync(dom_of, link, tmp_path / "profile")
            assert "This browser may now connect" in shown
            told = await said(page, running.port, tmp_path / "profile")
            assert told == "heard connection_established, cookies: []"
