"""A conversation of any length, line by line."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.ingest.stage import line

MORE = """

1. a list
2. of `two`

```python
for it in them:
    print(it)
```

| a | table |
|---|---|
| 1 | 2 |
"""
START = datetime(2026, 11, 1, tzinfo=UTC)


def lines(count: int, id: str, text: str = "text {} of **many**, with `code`", *, first: int = 0) -> Iterator[bytes]:
    """Prompts and answers by turns, a second apart: lists, code, tables, thinking, and an edit in every tenth."""
    for at in range(first, first + count):
        content: Any = text.format(at)
        if at % 2:
            content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": content + MORE}]
        if at % 10 == 5:
            asked = {"file_path": f"/{id}/file.py", "old_string": "a\nb\n", "new_string": "a\nc\n"}
            content.append({"type": "tool_use", "id": f"t{at}", "name": "Edit", "input": asked})
        message = {"role": "assistant" if at % 2 else "user", "content": content, "id": f"m{at}", "model": "m"}
        stamp = (START + timedelta(seconds=at)).isoformat().replace("+00:00", ".000Z")
        yield line(type=message["role"], uuid=f"{id}{at}", sessionId=id, cwd=f"/{id}", timestamp=stamp, message=message)
