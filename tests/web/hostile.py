"""Texts that try to run something, or to look like something else, wherever a transcript may hold one."""

import json
from typing import Any

MARK = "window.__ran=(window.__ran||0)+1"
TEXTS = (
    f"<script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f"<svg onload={MARK}>",
    f"<svg><animate onbegin={MARK} attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"<iframe src=\"javascript:parent.{MARK}\"></iframe>",
    f"<a href=\"javascript:{MARK}\" id=bait>click</a>",
    f"[click](javascript:{MARK})",
    f"[click](  JaVaScRiPt:{MARK})",
    f"[click](java\tscript:{MARK})",
    f"[click](data:text/html,<script>{MARK}</script>)",
    f"[click](vbscript:{MARK})",
    "[click](file:///etc/passwd)",
    f"![x](javascript:{MARK})",
    f"![x](\"onerror=\"{MARK})",
    "![tracker](https://tracker.invalid/pixel.png)",
    "<img src=https://tracker.invalid/pixel.png>",
    "<link rel=stylesheet href=https://tracker.invalid/a.css>",
    "<style>body{display:none}</style>",
    "<p style=\"position:fixed;inset:0;background:red\">cover</p>",
    f"<form action=https://tracker.invalid><input name=x><button formaction=javascript:{MARK}>go</button></form>",
    f"<details open ontoggle={MARK}>x</details>",
    f"<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=x onerror={MARK}&gt;\">",
    f"<noscript><p title=\"</noscript><img src=x onerror={MARK}>\">",
    f"<template><script>{MARK}</script></template>",
    f"<base href=https://tracker.invalid/><object data=javascript:{MARK}></object><embed src=javascript:{MARK}>",
    f"<meta http-equiv=refresh content=\"0;url=javascript:{MARK}\">",
    f"`<img src=x onerror={MARK}>` and\n```html\n<script>{MARK}</script>\n```",
    "<div id=app></div><a name=body></a><img name=getElementById>",
    "{{constructor.constructor('" + MARK + "')()}} ${" + MARK + "}",
    "\u202egnp.exe\u202c \u0000 \ud800 \u2028 \x1b[31mred",
    "</title></textarea></style></script></div>-->]]>",
)  # fmt: skip


def lines() -> list[bytes]:
    """A conversation that holds each text in each place."""
    made: list[bytes] = []
    for number, text in enumerate(TEXTS):
        made += _lines(number, text)
    return made


def _lines(number: int, text: str) -> list[bytes]:
    call = {"type": "tool_use", "id": f"t{number}", "name": text[:60], "input": {"command": text, "file_path": text}}
    edit = {"type": "tool_use", "id": f"e{number}", "name": "Edit",
            "input": {"file_path": f"/w/{text}", "old_string": text, "new_string": f"{text}!"}}  # fmt: skip
    answer = {"type": "tool_result", "tool_use_id": f"t{number}", "content": text, "is_error": True}
    thought = {"type": "thinking", "thinking": text}
    return [
        _line(number, 0, "user", text),
        _line(number, 1, "assistant", [thought, {"type": "text", "text": text}]),
        _line(number, 2, "assistant", [call, edit]),
        _line(number, 3, "user", [answer]),
        _made(type="system", subtype=text[:40], content=text, uuid=f"s{number}"),
        _made(type="custom-title", customTitle=text),
    ]


def _made(**fields: Any) -> bytes:
    return json.dumps({"sessionId": "hostile", **fields}).encode()


def _line(number: int, part: int, role: str, content: Any) -> bytes:
    at = f"2026-11-25T10:{number:02}:{part:02}.000Z"
    message = {"role": role, "content": content, "id": f"m{number}", "model": "claude-<b>x</b>"}
    return _made(type=role, uuid=f"u{number}-{part}", cwd="/w/<b>cwd</b>", gitBranch="<i>branch</i>", timestamp=at,
                 message=message)  # fmt: skip
