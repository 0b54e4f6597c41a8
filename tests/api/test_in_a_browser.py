"""In a real browser: what a page of another origin tries is refused, and ours shows what happens."""

import subprocess
from pathlib import Path

import trio

from observatory.core.handshake import LOOPBACK_NAMES, Policy
from tests.api.stage import ONE, staged
from tests.browser import DEADLINE, FLAGS, Page, chromium, served

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
