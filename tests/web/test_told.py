"""What the dashboard tells: hooks, compactions, the command to resume, notifications, and that a log is another one."""

import shutil
from pathlib import Path

import trio

from tests.api.stage import ONE, staged
from tests.driving import driving
from tests.ingest.stage import line, prompt, use
from tests.running import free_port, serving
from tests.web.test_dashboard import LIVE, go, shows, web

STAMP = "2026-11-25T10:00:00.000Z"
NOTICES = """
window.notices = [];
window.Notification = class {
  static permission = "granted";
  constructor(title, options) { window.notices.push([title, options.body]); }
};
localStorage.setItem("observatory.settings", JSON.stringify({ notify: true }));
"""


async def test_hook_events_and_compactions_stand_where_they_happened(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await go(tab, on, f"/c/{ONE}")
        await tab.until("document.querySelectorAll('#timeline [data-record]').length == 5")
        asked = {"tool_name": "Bash", "tool_input": {"command": "rm -r build"}}
        told = await on.post("/events", {"hook_event_name": "PermissionRequest", "session_id": ONE, **asked}, 201)
        hook = f"document.querySelector('[data-hook={told['id']}]')"
        await tab.until(f"{hook}?.innerText.includes('rm -r build') == true")
        await tab.until("document.querySelector('.pill').innerText == 'waiting'")
        mark = {"subtype": "compact_boundary", "content": "Conversation compacted", "compactMetadata": {"preTokens": 5}}
        on.write(f"-w/{ONE}.jsonl", line(type="system", uuid="c", sessionId=ONE, timestamp=STAMP, **mark))
        await tab.until(shows("the conversation was compacted"))
        await go(tab, on, f"/c/{ONE}")  # and again, from the archive
        await tab.until(f"{hook} != null")
        assert await tab.value(shows("the conversation was compacted"))
        assert tab.complaints() == []


async def test_the_command_to_resume_is_copied_as_words_of_a_shell(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        on.write("-v/odd.jsonl", prompt(0, sessionId="o'dd; ls", uuid="odd", cwd="/v/it's $HOME"))
        await on.settled()
        await go(tab, on, "/c/odd")
        await tab.until("document.querySelector('.head') != null")
        await tab.value("navigator.clipboard.writeText = async text => { window.copied = text }")
        await tab.value(
            "[...document.querySelectorAll('button')].find(one => one.innerText.startsWith('Copy')).click()"
        )
        await tab.until("window.copied !== undefined")
        assert await tab.value("window.copied") == r"cd '/v/it'\''s $HOME' && claude --resume 'o'\''dd; ls'"


async def test_notifications_tell_what_has_finished_and_what_waits(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await tab.do("Page.addScriptToEvaluateOnNewDocument", source=NOTICES)
        await go(tab, on, "/")
        file = f"-w/{ONE}.jsonl"
        working = "document.querySelector('[data-session=\"{}\"] .mark').title == '{}'"
        on.write(file, prompt(20, "go on", sessionId=ONE, uuid="n1"))
        await tab.until(working.format(ONE, "working"))
        assert await tab.value("window.notices") == []
        over = {"subtype": "turn_duration", "durationMs": 5, "timestamp": STAMP}
        on.write(file, line(type="system", uuid="n2", sessionId=ONE, **over))
        await tab.until("window.notices.length == 1")
        on.write(file, prompt(21, "and now", sessionId=ONE, uuid="n3"))
        await tab.until(working.format(ONE, "working"))
        asked = {"question": "which?"}
        on.write(file, use("ask", name="AskUserQuestion", at=22, asked=asked, sessionId=ONE, uuid="n4"))
        await tab.until("window.notices.length == 2")
        titles = [title for title, _ in await tab.value("window.notices")]
        assert titles == ["w has finished", "w waits for you"]


async def test_a_log_that_is_another_one_is_loaded_anew_and_it_says_so(tmp_path: Path) -> None:
    root = tmp_path / "projects"
    (root / "-n").mkdir(parents=True)
    (root / "-n" / "one.jsonl").write_bytes(prompt(0, "the first", sessionId="one", uuid="n0", cwd="/n") + b"\n")
    async with serving(root, tmp_path / "data", free_port()) as server, driving(tmp_path / "profile") as tab:
        await go(tab, web(server), "/")
        await tab.until(shows("the first"))
        await server.kill()
        await trio.to_thread.run_sync(shutil.rmtree, tmp_path / "data")
        (root / "-n" / "two.jsonl").write_bytes(prompt(0, "the second", sessionId="two", uuid="n1", cwd="/n") + b"\n")
        await server.start()
        await tab.until(shows("Loaded anew"))
        await tab.until(LIVE)
        await tab.until(f"{shows('the first')} && {shows('the second')}")
        assert await tab.value("document.querySelectorAll('#sessions > li').length") == 2
