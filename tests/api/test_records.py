"""What is in a conversation."""

from base64 import b64decode
from pathlib import Path

import orjson

from tests.api.stage import ONE, PIXEL, TWO, staged
from tests.ingest.stage import prompt


async def test_records_come_in_order_and_by_ranges(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await on.get(f"/conversations/{ONE}/records")
        assert [row["line"] for row in told["records"]] == [0, 1, 2, 3, 4]
        assert not told["more"]
        ids = [row["record"]["id"] for row in told["records"]]
        assert told["records"][0]["message"]["content"] == "why is the cart wrong 0"
        first = await on.get(f"/conversations/{ONE}/records", limit=2)
        assert ([row["record"]["id"] for row in first["records"]], first["more"]) == (ids[:2], True)
        after = await on.get(f"/conversations/{ONE}/records", after=ids[1], before=ids[4])
        assert [row["record"]["id"] for row in after["records"]] == ids[2:4]
        last = await on.get(f"/conversations/{ONE}/records", last=True, limit=2)
        assert ([row["record"]["id"] for row in last["records"]], last["more"]) == (ids[3:], True)
        before = await on.get(f"/conversations/{ONE}/records", last=True, before=ids[2])
        assert ([row["record"]["id"] for row in before["records"]], before["more"]) == (ids[:2], False)
        await on.get("/conversations/nobody/records", 404)
        await on.get(f"/conversations/{ONE}/records", 400, limit=501)


async def test_a_record_is_what_was_pushed_whole(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        long = prompt(9, "x" * 300_000, sessionId=TWO, uuid="long", cwd="/v")
        on.write(f"-v/{TWO}.jsonl", long)
        await on.until(on.monitor.events.position.head + 1)
        (event,) = [
            one
            for one in (await on.http.get("/api/v1/events/poll", params={"since": 0})).json()["events"]
            if one["type"] == "message_added"
        ]
        pushed = event["data"]["record"]
        assert pushed["truncated"]
        one = await on.get(f"/records/{pushed['id']}")
        assert orjson.loads(one["raw"]) == orjson.loads(long)
        assert len(one["message"]["content"]) > 300_000
        assert (one["conversation_id"], one["line"], one["images"]) == (TWO, 1, 0)
        assert "truncated" not in one["record"]
        for id in ("1-0-999", "nothing", "h9", "h", "99999999-0-0"):
            await on.get(f"/records/{id}", 404)


async def test_a_broken_line_is_told_as_what_it_is(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        on.write(f"-v/{TWO}.jsonl", b"{this is no JSON")
        await on.until(on.monitor.events.position.head + 1)
        told = await on.get(f"/conversations/{TWO}/records")
        broken = told["records"][-1]
        assert (broken["record"]["kind"], broken["message"]) == ("error", None)
        one = await on.get(f"/records/{broken['record']['id']}")
        assert one["raw"] == "{this is no JSON"


async def test_pictures_are_served_as_such_and_can_do_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await on.get(f"/conversations/{ONE}/records", last=True, limit=1)
        id = told["records"][0]["record"]["id"]
        assert (await on.get(f"/records/{id}"))["images"] == 1
        shown = await on.get(f"/records/{id}/images/0")
        assert shown.content == b64decode(PIXEL)
        assert shown.headers["content-type"] == "image/png"
        assert "sandbox" in shown.headers["content-security-policy"]
        again = await on.http.get(f"/api/v1/records/{id}/images/0", headers={"If-None-Match": shown.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        part = await on.http.get(f"/api/v1/records/{id}/images/0", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, b64decode(PIXEL)[1:4])
        for number in ("1", "x", "-1", "99999"):
            await on.get(f"/records/{id}/images/{number}", 404)


async def test_tool_calls_tell_what_came_of_them(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        (call,) = (await on.get(f"/conversations/{ONE}/tool-calls"))["tool_calls"]
        assert (call["tool_use_id"], call["name"], call["status"]) == ("t1", "Bash", "success")
        assert (await on.get(f"/conversations/{ONE}/tool-calls", after="t1"))["tool_calls"] == []
        await on.get("/conversations/nobody/tool-calls", 404)


async def test_outputs_that_were_too_big_are_listed_and_given(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "-w" / ONE / "tool-results"
    folder.mkdir(parents=True)
    (folder / "big.txt").write_text("a long output\n" * 1000)
    async with staged(tmp_path) as on:
        told = await on.sees(f"/conversations/{ONE}/attachments", lambda told: bool(told["attachments"]))
        assert [(one["name"], one["size"], one["absent"]) for one in told["attachments"]] == [("big.txt", 14000, None)]
        text = await on.get(f"/conversations/{ONE}/attachments/big.txt")
        assert text.text == "a long output\n" * 1000
        assert text.headers["content-type"].startswith("text/plain")
        for name in ("small.txt", "%2e%2e%2fbig.txt"):
            assert (await on.http.get(f"/api/v1/conversations/{ONE}/attachments/{name}")).status_code == 404
        await on.get("/conversations/nobody/attachments", 404)


async def test_an_export_is_the_file_itself_or_a_page_without_script(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        lines = await on.get(f"/conversations/{ONE}/export")
        assert lines.content == (on.root / "-w" / f"{ONE}.jsonl").read_bytes()
        assert lines.headers["content-disposition"] == f'attachment; filename="{ONE}.jsonl"'
        text = await on.get(f"/conversations/{ONE}/export", format="markdown")
        assert "why is the cart wrong" in text.text
        page = await on.get(f"/conversations/{ONE}/export", format="html", redact=True)
        assert page.text.startswith("<!doctype html>")
        assert "sandbox" in page.headers["content-security-policy"]
        await on.get("/conversations/nobody/export", 404)
        await on.get(f"/conversations/{ONE}/export", 400, format="pdf")
        assert (await on.http.head(f"/api/v1/conversations/{ONE}/export")).status_code == 200


async def test_records_are_found_by_their_place_and_counted(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        path = f"/conversations/{ONE}/records"
        ids = [row["record"]["id"] for row in (await on.get(path))["records"]]

        async def range_of(**asked: object) -> tuple[list[str], bool, int, int]:
            told = await on.get(path, **asked)
            return [row["record"]["id"] for row in told["records"]], told["more"], told["start"], told["total"]

        assert await range_of(skip=1, limit=2) == (ids[1:3], True, 1, 5)
        assert await range_of(skip=3, limit=2) == (ids[3:], False, 3, 5)
        assert await range_of(skip=9) == ([], False, 9, 5)
        assert await range_of(at=ids[3], limit=2) == (ids[2:4], True, 2, 5)
        assert await range_of(at=ids[0], limit=4) == (ids[:4], True, 0, 5)
        assert await range_of(last=True, limit=2, count=True) == (ids[3:], True, 3, 5)
        assert await range_of(after=ids[4], count=True) == ([], False, 5, 5)
        for wrong in ({"skip": 1, "at": ids[0]}, {"skip": 1, "last": True}, {"at": ids[0], "after": ids[0]}):
            await on.get(path, 422, **wrong)
        other = (await on.get(f"/conversations/{TWO}/records"))["records"][0]["record"]["id"]
        await on.get(path, 404, at=other)
        await on.get(path, 404, at="1-0-999")
        assert "start" not in await on.get(path)


async def test_places_go_on_over_the_files_of_a_conversation(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        file = on.root / "-v" / f"{TWO}.jsonl"
        file.unlink()
        await on.settled()
        file.write_bytes(b"".join(prompt(n, sessionId=TWO, cwd="/v", uuid=f"n{n}") + b"\n" for n in range(3)))
        await on.settled()
        told = await on.sees(f"/conversations/{TWO}/records", lambda told: len(told["records"]) >= 3)
        ids = [row["record"]["id"] for row in told["records"]]
        for skip in range(len(ids) + 1):
            part = await on.get(f"/conversations/{TWO}/records", skip=skip, limit=2)
            assert [row["record"]["id"] for row in part["records"]] == ids[skip : skip + 2]
            assert part["total"] == len(ids)
