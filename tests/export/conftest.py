"""A conversation with everything in it, hostile where it can be, in a real archive."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from observatory.cli.main import main

MAIN = "aaaaaaaa-1111-4111-8111-111111111111"
AGENT = "abc1234"
EVIL = (
    '<script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">x</a>'
    "<style>*{display:none}</style><svg onload=alert(4)><iframe src=//evil.example></iframe>"
)
EVIL_MARKDOWN = (
    f"{EVIL}\n\n[click](javascript:alert(5)) [data](data:text/html,x) ![pixel](https://evil.example/p.png)\n\n"
    "[good](https://example.org/a) <https://evil.example>\n\n```html\n</code></pre><script>alert(6)</script>\n````\n"
    "\x1b]0;owned\x07 \u202egnp.exe"
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def line(uuid: str, type_: str, content: Any, **more: Any) -> bytes:
    message = {"role": type_, "content": content, **({"model": "m", "id": uuid} if type_ == "assistant" else {})}
    found = {"type": type_, "uuid": uuid, "parentUuid": None, "sessionId": MAIN, "cwd": "/home/ada/it's here"}
    return orjson.dumps({**found, "timestamp": f"2026-01-01T10:00:{int(uuid[1:]):02}.000Z", "message": message, **more})


def use(id: str, name: str, **asked: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": asked}


def result(id: str, content: Any, *, is_error: bool = False) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error}


LINES = [
    line("u1", "user", f"why is the total wrong? {EVIL}"),
    line("a2", "assistant", [{"type": "thinking", "thinking": f"hm {EVIL}"}, {"type": "text", "text": EVIL_MARKDOWN}]),
    line("a3", "assistant", [use("t1", "Bash", command=f"pytest {EVIL}")]),
    line("u4", "user", [result("t1", f"{EVIL}\n```\n````\nfailed", is_error=True)]),
    line("a5", "assistant", [use("t2", "Edit", file_path="/a/cart.py", old_string="x = 1", new_string=f"x = 2{EVIL}")]),
    line("u6", "user", [result("t2", [{"type": "text", "text": "done"}, {"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": PNG}}])]),
    line("u7", "user", [{"type": "image", "source": {"media_type": "image/svg+xml", "data": "PHN2Zz4="}}]),
    line("u8", "user", [{"type": "image", "source": {"media_type": 'image/png" onload="x', "data": '" onload="y'}}]),
    line("a9", "assistant", [use("t3", "Task", description="look around", prompt="go")]),
    line("u10", "user", [result("t3", "found it")], toolUseResult={"agentId": AGENT}),
    line("u11", "user", "meta", isMeta=True),
    line("u12", "user", "[Request interrupted by user]"),
    orjson.dumps({"type": "system", "subtype": "compact_boundary", "uuid": "s13", "sessionId": MAIN, "content": EVIL}),
    b"{torn apart",
]  # fmt: skip
AGENT_LINES = [
    line("u1", "user", "go", isSidechain=True, agentId=AGENT),
    line("a2", "assistant", [{"type": "text", "text": f"the agent speaks {EVIL}"}], isSidechain=True, agentId=AGENT),
]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its root is `root`, its archive `data`."""
    directory = tmp_path_factory.mktemp("export")
    folder = directory / "root/projects/-home-ada-it-s-here"
    (folder / MAIN / "subagents").mkdir(parents=True)
    (folder / f"{MAIN}.jsonl").write_bytes(b"\n".join(LINES) + b"\n")
    (folder / MAIN / f"subagents/agent-{AGENT}.jsonl").write_bytes(b"\n".join(AGENT_LINES) + b"\n")
    words = ["import", "--root", str(directory / "root"), "--data-dir", str(directory / "data")]
    done = CliRunner().invoke(main, words, env={"OBSERVATORY_CONFIG": os.devnull})
    assert done.exit_code == 0, done.output
    return directory
