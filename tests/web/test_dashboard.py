"""The dashboard in a browser: what it shows is what is there, it survives its server, and nothing in it is run."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.api.stage import ONE, Stage, staged
from tests.driving import Tab, driving
from tests.ingest.stage import prompt, reply, use
from tests.running import Server, free_port, serving
from tests.web import hostile
from tests.web.big import lines

TOKEN = "k" * 43
IDS = "[...document.querySelectorAll('#timeline [data-record]')].map(one => one.dataset.record)"
TIMELINE = "document.querySelector('#timeline')"
TEXT = "document.body.innerText"
REQUEST = "Network.requestWillBeSent"
LIVE = "document.querySelector('header .state').innerText == 'live'"


def shows(text: str) -> str:
    """An expression: it is on the page."""
    return f"{TEXT}.includes({json.dumps(text)})"


async def go(tab: Tab, on: Stage | str, path: str) -> None:
    """Open a view, and wait until it is connected."""
    await tab.open(on + path if isinstance(on, str) else f"http://127.0.0.1:{on.port}{path}")
    await tab.until(LIVE)


async def test_the_sessions_are_shown_and_what_is_written_appears_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await go(tab, on, "/")
        await tab.until("document.querySelectorAll('#sessions > li').length == 2")
        assert await tab.value(shows("why is the cart wrong"))
        on.write("-v/third.jsonl", prompt(0, "paint it green", sessionId="third", uuid="third", cwd="/v"))
        await tab.until("document.querySelectorAll('#sessions > li').length == 3")
        await tab.until(shows("you: paint it green"))
        on.write("-v/third.jsonl", use("t9", name="Bash", at=1, asked={"command": "make green"}, sessionId="third"))
        await tab.until(shows("→ Bash make green"))
        assert tab.complaints() == []


async def test_a_conversation_shows_prompts_calls_results_and_pictures_and_grows(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await go(tab, on, f"/c/{ONE}")
        await tab.until("document.querySelectorAll('#timeline [data-record]').length == 5")
        told = await on.get(f"/conversations/{ONE}/records")
        assert await tab.value(IDS) == [row["record"]["id"] for row in told["records"]]
        await tab.until("document.querySelector('#timeline img')?.naturalWidth == 1")
        await tab.value("document.querySelector('.tool summary').click()")
        await tab.until("document.querySelector('.tool .inside') != null")
        on.write(f"-w/{ONE}.jsonl", prompt(9, "and the **tax**?", sessionId=ONE, uuid="more"),
                 reply(10, "m10", sessionId=ONE, uuid="more2"))  # fmt: skip
        await tab.until(shows("and the **tax**?"))  # what a person wrote is shown as it was written
        await tab.until("document.querySelectorAll('#timeline [data-record]').length == 7")
        await tab.value("document.querySelector('.head .star').click()")
        await on.sees(f"/conversations/{ONE}", lambda told: told["conversation"]["starred"])
        assert tab.complaints() == []


async def test_sub_agents_stand_below_the_session_and_the_call_that_started_them(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        call = {"prompt": "Count the tests.", "description": "count tests"}
        on.write(f"-w/{ONE}.jsonl", use("task", name="Task", at=8, asked=call, sessionId=ONE))
        agent: dict[str, Any] = {"isSidechain": True, "agentId": "abc", "sessionId": ONE}
        first = {"role": "user", "content": "Count the tests."}
        on.write(f"-w/{ONE}/subagents/agent-abc.jsonl", prompt(9, uuid="sub", message=first, **agent),
                 use("t8", name="Grep", at=9, asked={"pattern": "def test_"}, uuid="sub2", **agent))  # fmt: skip
        await on.sees(f"/conversations/{ONE}/agents", lambda told: len(told["agents"]) == 1)
        await go(tab, on, "/")
        on.write(f"-w/{ONE}/subagents/agent-abc.jsonl",
                 use("t7", name="Read", at=10, asked={"file_path": "/w/a.py"}, uuid="sub3", **agent))  # fmt: skip
        await tab.until(f'document.querySelector(\'[data-session="{ONE}"] [data-session="{ONE}.abc"]\') != null')
        await tab.until(shows("→ Read /w/a.py"))
        await go(tab, on, f"/c/{ONE}")
        await tab.until("document.querySelector('.agent a')?.innerText == 'Count the tests.'")
        await tab.value("document.querySelector('.agent a').click()")
        await tab.until(f"location.pathname == '/c/{ONE}.abc' && {IDS}.length == 3")
        assert tab.complaints() == []


async def test_a_permalink_opens_a_record_and_finding_goes_to_hits(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        many = [prompt(at, f"number {at} of many", sessionId="long", uuid=f"l{at}", cwd="/v") for at in range(700)]
        on.write("-v/long.jsonl", *many)
        await on.settled()
        rows = (await on.get("/conversations/long/records", skip=350, limit=3))["records"]
        wanted = rows[0]["record"]["id"]
        await go(tab, on, f"/c/long?r={wanted}")
        await tab.until(f"document.querySelector('.isMarked')?.dataset.record == {wanted!r}")
        await tab.until("document.querySelector('button.tail') != null")  # it does not follow the end
        await tab.until("document.querySelector('#find') != null")
        await _indexed(on, "many", 700)
        typed = "var box = document.querySelector('#find'); box.value = '\"number 42 of\"';"
        await tab.value(typed + "box.dispatchEvent(new Event('input', {bubbles: true})); box.form.requestSubmit()")
        await tab.until("document.querySelector('.isMarked')?.innerText.includes('number 42 of many') == true")
        await tab.value("document.querySelector('button.tail').click()")
        await tab.until(shows("number 699 of many"))
        assert tab.complaints() == []


async def test_search_stats_and_system_show_what_the_api_tells(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await _indexed(on, "cart", 1)
        await go(tab, on, "/search?q=cart")
        await tab.until("document.querySelector('#hits mark')?.innerText == 'cart'")
        await tab.value("document.querySelector('#hits a').click()")
        await tab.until("location.pathname.startsWith('/c/') && document.querySelector('.isMarked') != null")
        await go(tab, on, "/stats?days=")
        await tab.until("document.querySelectorAll('#stats tbody tr').length >= 1")
        await go(tab, on, "/stats?by=tool&days=")
        await tab.until("document.querySelector('#stats td')?.innerText == 'Bash'")
        await go(tab, on, "/system")
        on.write(f"-w/{ONE}.jsonl", prompt(9, "again", sessionId=ONE, uuid="again"))
        await tab.until("document.querySelectorAll('#hops tbody tr').length == 5")
        assert await tab.value(shows("all_conversations, project_updates, system"))
        assert tab.complaints() == []


async def test_nothing_in_a_transcript_runs_loads_or_leaves_its_place(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        on.write("-h/hostile.jsonl", *hostile.lines())
        await on.settled()
        await tab.do("Network.enable")
        await go(tab, on, "/")
        await tab.until("document.querySelectorAll('#sessions > li').length == 3")
        await go(tab, on, "/c/hostile")
        await tab.until("document.querySelector('#timeline [data-record]') != null")
        await tab.value("[...document.querySelectorAll('header button, .bar button')].at(-1).click()")  # all lines
        total = len(hostile.lines())
        for at in range(0, 101, 5):
            move = f"{TIMELINE}.scrollTop = {TIMELINE}.scrollHeight * {at} / 100;"
            await tab.value(move + "new Promise(done => setTimeout(done, 60))")
            await tab.value("document.querySelectorAll('#timeline summary').forEach(one => one.click())")
            links = "[...document.querySelectorAll('#timeline .md a')].map(one => one.getAttribute('href'))"
            for href in await tab.value(links):
                assert href is None or href.startswith(("http:", "https:", "mailto:", "#")), href
        assert (await on.get("/conversations/hostile/records", count=True))["total"] == total
        assert await tab.value("window.__ran ?? 0") == 0
        inside = "#timeline :is(iframe, script, style, form, object, embed, link, meta, base, svg, [style*=fixed])"
        assert await tab.value(f"document.querySelectorAll({inside!r}).length") == 0
        asked = [one["params"]["request"]["url"] for one in tab.said if one.get("method") == REQUEST]
        assert [url for url in asked if f"127.0.0.1:{on.port}" not in url] == []
        assert tab.complaints() == []


async def test_fifty_thousand_records_open_at_their_end_and_scroll_in_few_nodes(tmp_path: Path) -> None:
    root = tmp_path / "projects"
    (root / "-big").mkdir(parents=True)
    (root / "-big" / "big.jsonl").write_bytes(b"".join(one + b"\n" for one in lines(50_000, "big")))
    async with serving(root, tmp_path / "data", free_port()) as server, driving(tmp_path / "profile") as tab:
        await _imported(server, 50_000)
        await go(tab, web(server), "/c/big")
        await tab.until(shows("text 49999 of many"))
        assert await tab.value("document.querySelectorAll('#timeline .item').length") < 300
        for place in (0, 0.31, 0.77):
            await tab.value(f"{TIMELINE}.scrollTop = {TIMELINE}.scrollHeight * {place}")
            await tab.until(f"{IDS}.length > 5 && {TIMELINE}.querySelector('.blank') == null")
            assert await tab.value("document.querySelectorAll('#timeline .item').length") < 300
        assert tab.complaints() == []


async def test_what_is_on_the_screen_is_what_the_log_holds_though_the_server_is_killed(tmp_path: Path) -> None:
    root = tmp_path / "projects"
    (root / "-k").mkdir(parents=True)
    path = root / "-k" / "kill.jsonl"
    path.write_bytes(prompt(0, "the first", sessionId="kill", uuid="k0", cwd="/k") + b"\n")
    async with serving(root, tmp_path / "data", free_port()) as server, driving(tmp_path / "profile") as tab:
        await _imported(server, 1)
        await go(tab, web(server), "/c/kill")
        at = 1
        for _ in range(4):
            for _ in range(5):
                with path.open("ab") as file:
                    file.write(prompt(at, f"line {at} end", sessionId="kill", uuid=f"k{at}", cwd="/k") + b"\n")
                at += 1
                await trio.sleep(0.02)
            await server.kill()
            with path.open("ab") as file:  # while it is away, too
                file.write(prompt(at, f"line {at} end", sessionId="kill", uuid=f"k{at}", cwd="/k") + b"\n")
            at += 1
            await server.start()
        await tab.until(shows(f"line {at - 1} end"))
        await tab.until(LIVE)
        held = [row["record"]["id"] for row in (await _get(server, "/conversations/kill/records"))["records"]]
        assert len(held) == at
        shown = await tab.value(IDS)
        assert shown == held[-len(shown) :]
        assert len(shown) > 5
        refused = [one for one in tab.complaints() if "ERR_CONNECTION" not in one and "WebSocket" not in one]
        assert refused == []


async def test_it_asks_for_the_token_and_shows_nothing_without(tmp_path: Path) -> None:
    async with staged(tmp_path, token=lambda: TOKEN) as on, driving(tmp_path / "profile") as tab:
        await tab.open(f"http://127.0.0.1:{on.port}/")
        await tab.until("document.querySelector('#login') != null")
        assert not await tab.value(shows("cart"))
        typed = (
            "document.querySelector('#token').value = {!r};"
            "document.querySelector('#token').dispatchEvent(new Event('input', {{bubbles: true}}));"
            "document.querySelector('#login form').requestSubmit()"
        )
        await tab.value(typed.format("wrong"))
        await tab.until("document.querySelector('#login-error').innerText == 'the token is not valid'")
        await tab.value(typed.format(TOKEN))
        await tab.until("document.querySelectorAll('#sessions > li').length == 2")
        assert await tab.value("document.cookie") == ""


async def test_it_says_when_the_server_is_gone_and_when_it_is_back(tmp_path: Path) -> None:
    root = tmp_path / "projects"
    root.mkdir()
    async with serving(root, tmp_path / "data", free_port()) as server, driving(tmp_path / "profile") as tab:
        await go(tab, web(server), "/")
        await tab.until(shows("Nothing yet"))
        assert await tab.value(shows("observatory demo"))
        await server.kill()
        await tab.until("document.querySelector('.banner')?.innerText.includes('Connection lost') == true")
        await server.start()
        await tab.until(
            "document.querySelector('.banner.isGood')?.innerText.includes('everything that was missed') == true"
        )


@pytest.mark.parametrize("path", ["/", f"/c/{ONE}", "/search?q=null", "/stats", "/system"])
async def test_every_view_fits_a_phone_has_its_landmarks_and_names_what_can_be_pressed(
    tmp_path: Path, path: str
) -> None:
    async with staged(tmp_path) as on, driving(tmp_path / "profile") as tab:
        await tab.do("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
        await go(tab, on, path)
        await trio.sleep(0.3)
        assert await tab.value("document.documentElement.scrollWidth") <= 360
        wide = "[...document.querySelectorAll('main :is(.bar, .head, h1, form, ol, article, section, p)')]"
        assert await tab.value(f"{wide}.filter(one => one.getBoundingClientRect().right > 361).length") == 0
        assert await tab.value("document.querySelectorAll('main, nav, header, h1').length") >= 4
        named = "one.innerText || one.title || one.ariaLabel || one.labels?.length"
        unnamed = f"[...document.querySelectorAll('button, a, input, select')].filter(one => !({named}))"
        assert await tab.value(f"{unnamed}.map(one => one.outerHTML)") == []
        assert tab.complaints() == []


async def _indexed(on: Stage, word: str, hits: int) -> None:
    with trio.fail_after(20):
        while (await on.get("/search", q=word))["total"] < hits:  # noqa: ASYNC110
            await trio.sleep(0.05)


def web(server: Server) -> str:
    return server.url.replace("ws", "http", 1).removesuffix("/ws")


async def _get(server: Server, path: str) -> Any:
    answer = await trio.to_thread.run_sync(lambda: httpx.get(f"{web(server)}/api/v1{path}", timeout=20))
    return answer.json()


async def _imported(server: Server, records: int) -> None:
    with trio.fail_after(60):
        while (await _get(server, "/status"))["import"]["records"] < records:  # noqa: ASYNC110
            await trio.sleep(0.1)
