"""Forgetting as an embedding program does it."""

from pathlib import Path

from observatory.core.forgetting import Target
from tests.original.stage import embedded, line
from tests.traces import holding


async def test_a_program_forgets_what_it_embeds(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations", "project_updates")
        on.write("-w/s.jsonl", line(1, "the-secret"), line(2, "the-secret"))
        await client.until("project_update")
        target = Target("project", client.seen[-1]["data"]["id"])
        removal = await on.monitor.forget(target)
        assert (removal.records, len(removal.conversations)) == (2, 1)
        await client.until("project_forgotten")
        again = await on.client("all_conversations", since=0)
        assert "the-secret" not in str(await again.until("conversation_forgotten"))
        assert holding(tmp_path / "data", b"the-secret") == []
        assert (await on.monitor.forget(target)).empty
