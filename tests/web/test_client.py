"""The JavaScript client under Node: its own tests, and a real server that is killed under it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from observatory.client.connection import connect
from observatory.core.events import Position
from tests.ingest.stage import prompt
from tests.running import free_port, serving

WEB = Path(__file__).parents[2] / "observatory" / "web"
BIN = Path(sys.executable).parent
PATIENCE = 120.0


def node(name: str) -> str:
    """A program of Node.js, of the environment's own."""
    found = BIN / name
    if not (found.exists() and (WEB / "node_modules").is_dir()):
        if os.environ.get("CI"):
            pytest.fail("Node.js and its packages are missing: pip install -e '.[test]' brings both")
        pytest.skip("no Node.js or no packages here: pip install -e '.[test]' brings both")
    return str(found)


def test_the_tests_of_the_client_pass() -> None:
    run = [node("node"), "node_modules/vitest/vitest.mjs", "run", "--no-cache"]
    done = subprocess.run(run, cwd=WEB, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


PROGRAM = """
const [client, url, last] = process.argv.slice(-3);
const { Follower } = await import(client);
const say = (...words) => process.stdout.write(words.join(" ") + "\\n");
const follower = new Follower({ url, topics: ["all_conversations"] }, {
  snapshot: ({ position }) => say("snapshot", position.epoch, position.seq),
  event: ({ type, seq, data }) => {
    if (type !== "message_added") return say("event", seq, type);
    say("event", seq, type, data.message.content);
    if (data.message.content.startsWith(last)) follower.stop();
  },
  standing: ({ state }) => say("standing", state),
});
"""


async def test_it_follows_a_server_that_is_killed_and_misses_and_repeats_nothing(tmp_path: Path) -> None:
    root, path = tmp_path / "projects", tmp_path / "projects" / "-w" / "s.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(prompt(0, "first") + b"\n")
    number = 1

    def write(text: str = "line") -> None:
        nonlocal number
        with path.open("ab") as file:
            file.write(prompt(number, text, uuid=f"u{number}") + b"\n")
        number += 1

    async with serving(root, tmp_path / "data", free_port()) as server:
        client = tmp_path / "client.mjs"
        pack = [
            node("node"),
            "node_modules/rolldown/bin/cli.mjs",
            "client/index.ts",
            "--format=esm",
            f"--file={client}",
        ]
        await trio.run_process(pack, cwd=WEB, capture_stdout=True)
        url = f"{server.url.removesuffix('/ws')}/ws"
        program = [node("node"), "--input-type=module", "--eval", PROGRAM, "--", str(client), url, "the end"]
        process = await trio.lowlevel.open_process(program, cwd=WEB, stdout=subprocess.PIPE)
        assert process.stdout is not None
        heard = bytearray()
        try:
            with trio.fail_after(PATIENCE):
                while b"standing live" not in heard:
                    heard += await process.stdout.receive_some()
                for _ in range(4):
                    for _ in range(5):
                        write()
                        await trio.sleep(0.01)
                    await server.kill()
                    write()
                    await server.start()
                write("the end")
                async for data in process.stdout:
                    heard += data
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
        told = [words.split(" ", 2) for words in heard.decode().splitlines()]
        (begun,) = [words for words in told if words[0] == "snapshot"]
        got = [int(words[1]) for words in told if words[0] == "event"]
        position = Position(begun[1], int(begun[2]))
        there: list[int] = []
        async with connect(server.url, topics=["all_conversations"], since=position) as after:
            while not there or there[-1] < got[-1]:
                event = await after.event()
                assert event.seq is not None
                there.append(event.seq)
        assert got == there, json.dumps(told)
        assert sum(words[0] == "standing" and words[1] == "live" for words in told) >= 2
