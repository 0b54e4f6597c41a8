"""Search and figures."""

from pathlib import Path
from typing import Any

import trio

from tests.api.stage import ONE, TWO, Stage, staged


async def behind(on: Stage) -> bool:
    """Whether the index is not there yet, or misses records."""
    answer = await on.http.get("/api/v1/search", params={"q": "x"})
    return answer.status_code == 503 or bool(answer.json()["lag"])


async def found(on: Stage, **query: Any) -> Any:
    """Hits, once the index has all records."""
    with trio.fail_after(30):
        while await behind(on):  # noqa: ASYNC110 - what HTTP gives has no event
            await trio.sleep(0.05)
    return await on.get("/search", **query)


async def test_what_was_said_is_found_with_its_place(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await found(on, q="cart")
        (hit,) = told["hits"]
        assert (hit["conversation_id"], hit["roles"], told["total"], told["next"]) == (ONE, ["user"], 1, None)
        start, end = hit["marks"][0]
        assert hit["snippet"][start:end] == "cart"
        assert (await on.get(f"/records/{hit['record']}"))["conversation_id"] == ONE
        for query, expected in (
            ({"q": "blue", "conversation": ONE}, []),
            ({"q": "blue", "role": ["user", "assistant"]}, [TWO]),
            ({"q": "blue", "until": "2020-01-01"}, []),
            ({"q": "blue", "since": "2020-01-01", "until": "2030-12-31"}, [TWO]),
            ({"q": "make it BLUE", "exact": True, "case": True}, []),
            ({"q": "make it blue", "exact": True}, [TWO]),
        ):
            hits = (await on.get("/search", **query))["hits"]
            assert [hit["conversation_id"] for hit in hits] == expected, query


async def test_a_search_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await found(on, q="cart")
        assert "case goes with exact" in (await on.get("/search", 422, q="a b", case=True))["error"]["message"]
        await on.get("/search", 422, q="cart", since="2026-02-30")
        await on.get("/search", 422, q="cart", cursor="abc")
        await on.get("/search", 400)
        await on.get("/search", 400, q="")
        await on.get("/search", 400, q="cart", role="nobody")
        await on.get("/search", 400, q="cart", colour="red")
        answer = await on.http.get("/api/v1/search?q=a&q=b")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")


async def test_figures_come_as_json_and_csv(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await on.get("/stats", group="conversation", timezone="UTC")
        assert [row["output_tokens"] for row in told["rows"] if row["conversation_id"] == ONE] == [50]
        assert told["total"]["output_tokens"] == 50
        tools = await on.get("/stats", group="tool")
        assert [row["tool"] for row in tools["rows"]] == ["Bash"]
        budget = await on.get("/stats", group="day", budget=1, since="2026-11-01", until="2026-11-30")
        assert budget["budget"]["limit_usd"] == 1
        lines = (await on.get("/stats", group="model", format="csv")).text.splitlines()
        assert lines[0].startswith("model,")
        assert len(lines) == 2
        for query in (
            {"timezone": "Mars/Olympus"},
            {"group": "tool", "budget": 1},
            {"since": "2026-12-01", "until": "2026-11-01"},
        ):
            await on.get("/stats", 422, **query)
