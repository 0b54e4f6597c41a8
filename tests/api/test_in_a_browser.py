"""In a real browser: what a page of another origin tries is refused, and ours shows what happens."""

import subprocess
from pathlib import Path

import trio

from observatory.core.handshake import LOOPBACK_NAMES, Policy
from tests.api.stage import ONE, staged
from tests.browser import DEADLINE, FLAGS, Page, chromium, served
from tests.driving import driving
from tests.ingest.stage import prompt

TOKEN = "k" * 43

# It tries to read, to change something by every request that needs no permission, and by those that do.
ATTACK = """<!doctype html><title>elsewhere</title><body><iframe name="frame"></iframe><script>
const base = "http://127.0.0.1:PORT/api/v1"
const body = JSON.stringify({conversation: "CONVERSATION", dry_run: false})
const told = async (name, work) => {
  try { return name + "=" + await work() } catch (error) { return name + "=refused" }
}
const form = (type, fields) => new Promise(done => {
  const made = document.createElement("form")
  made.method = "post"; made.enctype = type; made.action = base + "/forget"; made.target = "frame"
  for (const [name, value] of fields) {
    const input = document.createElement("input"); input.name = name; input.value = value; made.append(input)
  }
  document.body.append(made); made.submit(); setTimeout(() => done("sent"), 300)
})
const all = async () => {
  const said = []
  said.push(await told("read", async () => (await fetch(base + "/conversations")).status))
  said.push(await told("plain", async () => (await fetch(base + "/forget", {method: "POST", body})).status))
  said.push(await told("blind", async () =>
    (await fetch(base + "/forget", {method: "POST", mode: "no-cors", body})).type))
  said.push(await told("json", async () =>
    (await fetch(base + "/forget", {method: "POST", body, headers: {"Content-Type": "application/json"}})).status))
  said.push(await told("beacon", async () => navigator.sendBeacon(base + "/forget", body)))
  const text = '{"conversation": "CONVERSATION", "dry_run": false, "x": "'
  said.push(await told("form", () => form("text/plain", [[text, '"}']])))
  const fields = [["conversation", "CONVERSATION"]]
  said.push(await told("urlencoded", () => form("application/x-www-form-urlencoded", fields)))
  said.push(await told("script", () => new Promise((done, failed) => {
    const made = document.createElement("script"); made.src = base + "/status"
    made.onload = () => done("loaded"); made.onerror = failed; document.body.append(made)
  })))
  said.push(await told("stream", () => new Promise((done, failed) => {
    const source = new EventSource(base + "/events/stream"); source.onopen = () => done("open"); source.onerror = failed
  })))
  fetch("/said/" + encodeURIComponent(said.join(" ")))
}
all()
</script>"""


async def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(tmp_path: Path) -> None:
    with served(Page("")) as page:
        async with staged(tmp_path) as on:
            page.html = ATTACK.replace("PORT", str(on.port)).replace("CONVERSATION", ONE)
            told = await trio.to_thread.run_sync(page.visit, tmp_path / "profile")
            said = dict(one.split("=") for one in told.split(" "))
            assert {said[name] for name in ("read", "plain", "json", "script", "stream")} == {"refused"}, told
            assert (await on.get(f"/conversations/{ONE}"))["conversation"]["id"] == ONE
            page.html = page.html.replace("127.0.0.1:", "localhost:")  # by another name of ours it is the same
            told = await trio.to_thread.run_sync(page.visit, tmp_path / "profile")
            assert "read=refused" in told
            assert (await on.get("/conversations"))["total"] == 2


async def test_a_page_of_an_origin_on_the_list_can_read(tmp_path: Path) -> None:
    with served(Page("")) as page:
        policy = Policy(LOOPBACK_NAMES, frozenset({page.origin}))
        async with staged(tmp_path, policy=policy) as on:
            page.html = ATTACK.replace("PORT", str(on.port)).replace("CONVERSATION", "nobody")
            told = await trio.to_thread.run_sync(page.visit, tmp_path / "profile")
            said = dict(one.split("=") for one in told.split(" "))
            assert (said["read"], said["plain"], said["json"], said["stream"]) == ("200", "415", "404", "open"), told


def dump(url: str, profile: Path, *flags: str) -> str:
    """A page after its scripts have run for a while."""
    words = [chromium(), *FLAGS, *flags, f"--user-data-dir={profile}", "--timeout=4000", "--dump-dom", url]
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout


async def test_a_name_that_was_rebound_to_us_gets_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        url = f"http://evil.example:{on.port}/api/v1/conversations"
        shown = await trio.to_thread.run_sync(dump, url, tmp_path / "profile", rules)
        assert "HOST_NOT_ALLOWED" in shown
        assert ONE not in shown


async def test_our_page_shows_the_sessions_live_and_what_is_hostile_in_them_as_text(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await tab.open(f"http://127.0.0.1:{on.port}/")
        await tab.until("document.querySelectorAll('#sessions li').length == 2")
        shown = await tab.value("document.body.innerText")
        for part in ("why is the cart wrong", "make it blue", f"ws://127.0.0.1:{on.port}/ws", "live · version"):
            assert part in shown
        evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
        on.write("-v/evil.jsonl", prompt(0, evil, sessionId="evil", uuid="evil", cwd="/v"))
        await tab.until("document.querySelectorAll('#sessions li').length == 3")
        await tab.until(f"document.querySelector('#sessions').innerText.includes({evil[:20]!r})")
        assert await tab.value("document.title") == "Claude Code Observatory"
        assert await tab.value("document.querySelectorAll('#sessions img').length") == 0
        assert tab.complaints() == []


async def test_our_page_asks_for_the_token_and_shows_nothing_without(tmp_path: Path) -> None:
    async with staged(tmp_path, token=lambda: TOKEN) as on, driving(tmp_path / "profile") as tab:
        await tab.open(f"http://127.0.0.1:{on.port}/")
        await tab.until("!document.querySelector('#login').hidden")
        assert "cart" not in await tab.value("document.body.innerText")
        typed = "document.querySelector('#token').value = {!r}; document.querySelector('#login-form button').click()"
        await tab.value(typed.format("wrong"))
        await tab.until("document.querySelector('#login-error').innerText == 'the token is not valid'")
        await tab.value(typed.format(TOKEN))
        await tab.until("document.querySelectorAll('#sessions li').length == 2")
        assert await tab.value("document.querySelector('#login').hidden")
        assert await tab.value("document.cookie") == ""


async def test_our_page_says_when_the_server_is_gone(tmp_path: Path) -> None:
    async with driving(tmp_path / "profile") as tab:
        async with staged(tmp_path) as on:
            await tab.open(f"http://127.0.0.1:{on.port}/")
            await tab.until("document.querySelector('#state').className == 'state ok'")
        await tab.until("document.querySelector('#state').className == 'state lost'")
