"""One readable text for records that are no messages."""

from typing import Any

import pytest

from observatory.core.readable import text


@pytest.mark.parametrize(
    ("kind", "found", "expected"),
    [
        ("summary", {"summary": "S"}, "S"),
        ("pr-link", {"prUrl": "https://x", "prNumber": 1}, "https://x"),
        ("frame-link", {"frameUrl": "https://f"}, "https://f"),
        ("mode", {"mode": 5}, None),
        ("bridge-session", {"bridgeSessionId": "b"}, None),
        ("unknown", {"text": "x"}, None),
        ("queue-operation", {"operation": "enqueue", "content": "/mcp"}, "enqueue: /mcp"),
        ("queue-operation", {"operation": "dequeue"}, "dequeue"),
        ("queue-operation", {"content": [{"type": "text", "text": "a"}, "b"]}, "a\nb"),
        ("queue-operation", {}, None),
        ("worktree-state", {"worktreeSession": {"worktreePath": "/w/t"}}, "/w/t"),
        ("worktree-state", {"worktreeSession": None}, None),
        ("system", {"subtype": "local_command", "content": "out"}, "out"),
        ("system", {"subtype": "turn_duration", "durationMs": 12345}, "turn took 12.3 s"),
        ("system", {"subtype": "turn_duration", "durationMs": "?", "content": "c"}, "c"),
        ("system", {"subtype": "stop_hook_summary", "hookCount": 2, "hookErrors": ["bad"]}, "2 stop hooks: bad"),
        ("system", {"subtype": "stop_hook_summary", "hookErrors": 5}, "stop hooks"),
        ("system", {"subtype": "api_error", "error": {"message": "m"}}, "m"),
        (
            "system",
            {"subtype": "api_error", "error": {"status": 529, "error": {"error": {"message": "deep"}}}},
            "deep",
        ),
        (
            "system",
            {"subtype": "api_error", "error": {"status": 529}, "retryAttempt": 1, "maxRetries": 10},
            "status 529: attempt 1 of 10",
        ),
        ("system", {"subtype": "error", "error": "plain"}, "plain"),
        ("system", {"subtype": "error", "error": 7, "content": "c"}, "c"),
        ("system", {"subtype": "compact_boundary", "content": "Compacted"}, "Compacted"),
        ("system", {"subtype": "compact_boundary", "compactMetadata": {"preTokens": 9}}, "compacted: 9 tokens before"),
        ("system", {"subtype": "microcompact_boundary"}, "compacted"),
        ("system", {"subtype": "new in 2027"}, None),
        ("progress", {"data": {"type": "bash_progress", "output": "one\ntwo\n"}}, "two"),
        ("progress", {"data": {"output": "", "fullOutput": "full"}}, "full"),
        ("progress", {"data": {"type": "hook_progress", "hookName": "PreToolUse:Bash"}}, "PreToolUse:Bash"),
        ("progress", {"data": {"message": {"message": {"content": "said"}}}}, "said"),
        ("progress", {"data": 5}, None),
        ("attachment", {"attachment": {"type": "queued_command", "prompt": "do"}}, "do"),
        ("attachment", {"attachment": {"type": "hook_success", "hookName": "Stop", "stdout": "ok"}}, "Stop: ok"),
        (
            "attachment",
            {"attachment": {"type": "hook_blocking_error", "blockingError": {"blockingError": "no"}}},
            "no",
        ),
        ("attachment", {"attachment": {"type": "file", "filename": "/a", "displayPath": "a"}}, "a"),
        ("attachment", {"attachment": {"type": 5}}, None),
        ("attachment", {"attachment": []}, None),
    ],
)
def test_a_record_says_what_it_is_about(kind: str, found: dict[str, Any], expected: str | None) -> None:
    assert text(kind, found) == expected
