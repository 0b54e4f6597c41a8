"""Names on the command line: where the user stands, and when the server is asked."""

from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from observatory.cli.lookup import here, topics_of
from observatory.config import directories_here
from observatory.core.client_items import Refused
from observatory.core.errors import UsageError
from tests.playing import URL, Peer, playing


def snapshot_of(*projects: dict[str, Any]) -> Any:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("get_snapshot")
        await peer.send("snapshot", {"projects": projects, "conversations": [], "truncated": False}, re=request["id"])
        await peer.closed_by_client()

    return script


async def test_names_are_looked_up_and_topics_are_left_alone(autojump_clock: MockClock) -> None:
    async with playing(snapshot_of({"id": "aaaaaaaaaaaa", "name": "shop", "path": "/shop"})) as open_stream:
        topics = await topics_of(URL, ["shop", "system", "conversation:c1"], open_stream)
    assert topics == ("project:aaaaaaaaaaaa", "system", "conversation:c1")


async def test_without_names_the_server_is_not_asked(autojump_clock: MockClock) -> None:
    async with playing() as open_stream:
        assert await topics_of(URL, ["system", "project:aaaaaaaaaaaa"], open_stream) == (
            "system",
            "project:aaaaaaaaaaaa",
        )


async def test_the_directory_counts_under_each_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    (tmp_path / "real" / "src").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "link" / "src")
    for shell in (str(tmp_path / "link" / "src"), "/", "relative", ""):
        monkeypatch.setenv("PWD", shell)
        for path in {str(tmp_path / "link") if shell.endswith("src") else "", str(tmp_path / "real")} - {""}:
            project = {"id": "aaaaaaaaaaaa", "name": "x", "path": path}
            async with playing(snapshot_of({"id": "b", "name": "y", "path": "/y"}, project)) as open_stream:
                assert await topics_of(URL, ["."], open_stream) == ("project:aaaaaaaaaaaa",)


def test_a_directory_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="does not exist any more"):
        here()


def test_the_nearest_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    levels = directories_here({})
    assert str(tmp_path) in levels[0]
    assert str(tmp_path.parent) in levels[1]
    assert levels[-1] == {"/"}


async def test_a_refusal_of_the_snapshot_is_told(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("get_snapshot")
        await peer.send("error", {"code": "NOT_AVAILABLE", "message": "busy"}, re=request["id"])
        await peer.closed_by_client()

    async with playing(script) as open_stream:
        with pytest.raises(Refused, match="busy"):
            await topics_of(URL, ["shop"], open_stream)
