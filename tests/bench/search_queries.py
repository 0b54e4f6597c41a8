"""The committed mix of a hundred queries over a large history made of the samples, and words that are everywhere."""

from typing import Any

from observatory.core.search_page import Search
from observatory.core.search_text import Role

WORDS = (
    *("numpy", "dialyzer", "transcript", "webhook", "migration", "timeout", "playwright", "liveview", "refactor"),
    *("tokenizer", "subprocess", "deadlock", "localhost", "markdown", "regression", "elixir", "phoenix", "scipy"),
    *("traceback", "credentials", "websocket", "pytest", "changelog", "dockerfile", "postgres", "unicode"),
)
PHRASES = (
    *('"import numpy as np"', '"no such file"', '"def test"', '"git commit"', '"the tests pass"', '"read the file"'),
    *('"let me check"', '"mix test"', '"file has not been read"', '"one of the"', '"in the same"', '"exit code"'),
)
NAMES = (
    *("snake_case", "test_add_numbers", "src.math_utils", "session_live.ex", "/home/USER/projects", "foo::bar"),
    *("call_llm", "lib/spotter_web/live", "package.json", "mix.exs", "requirements.txt", "self.assertEqual"),
    *("node_modules/.bin", "__init__.py", "std::string", "a.b.c", "x-y-z", "get_status"),
)
SEVERAL = (
    *("error timeout", "numpy scipy -torch", "liveview OR playwright", "test* failing", "refactor module path"),
    *("commit push branch", "transcr* sync", "session agent -error", "elixir mix deps", "read write edit file"),
    *("install OR update packages", "compil* warning", "unused alias", "database schema", "button click"),
)
SCRIPTS = ("東京", "天気予報", "中文", "한국어", "ファイル", "字", "größe", "naïve", "Привет")
FILTERED: tuple[tuple[str, dict[str, Any]], ...] = (
    *((word, {"roles": Role.USER}) for word in ("fix", "please", "tests")),
    *((word, {"roles": Role.ASSISTANT}) for word in ("because", "implement", "error")),
    *((word, {"roles": Role.TOOL_RESULT, "errors": True}) for word in ("error", "file", "exit")),
    *((word, {"tool": "Bash"}) for word in ("git", "test", "ls")),
    *((word, {"sort": "newest"}) for word in ("module", "function", "session")),
    *((word, {"since": 1_770_000_000_000}) for word in ("path", "update")),
    *((word, {"limit": 200}) for word in ("server", "config")),
)
MIX = (*(Search(text) for text in (*WORDS, *PHRASES, *NAMES, *SEVERAL, *SCRIPTS)),
       *(Search(text, **filters) for text, filters in FILTERED))  # fmt: skip
QUERIES = tuple((MIX * 2)[:100])
COMMON = tuple(Search(text) for text in ("the", "to", "file", "a", "is", "in", "and", "of", "th*", "the file"))
EXACT = tuple(Search(text, exact=True) for text in ("numpy as np", "def test_", "zzz(((", "self._"))
