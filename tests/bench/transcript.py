"""Invented transcript lines in the shape that Claude Code writes: prompts and answers with usage, of today."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

MODEL = "claude-sonnet-4-5-20250929"
VERSION = "2.0.14"
TEXT = (
    "the parser reads every line once and keeps the offset so a restart goes on where it ended while tests cover torn"
    " lines renamed files and rotated logs before we change how the index is built let me look at the module first"
)
WORDS = TEXT.split()
FOLDERS = 20  # projects of a history


def now() -> str:
    """The time of day as Claude Code writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@attrs.define
class Conversation:
    """One conversation: its lines follow each other. The same seed gives the same lines, but for the time of day."""

    seed: int
    cwd: str = "/home/dev/app"
    session_id: str = attrs.field(init=False)
    _random: random.Random = attrs.field(init=False)
    _parent: str | None = None

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.session_id = self._uuid()

    @property
    def folder(self) -> str:
        """The name of its folder below projects/."""
        return self.cwd.replace("/", "-")

    def prompt(self, mark: str = "") -> bytes:
        """What the user types; `mark` is its first word."""
        return self._line("user", {"message": {"role": "user", "content": self._text(mark, 25)}})

    def answer(self, mark: str = "") -> bytes:
        """What the assistant says; `mark` is its first word."""
        message = {
            "model": MODEL,
            "id": f"msg_01{self._random.getrandbits(80):020x}",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": self._text(mark, 60)}],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": self._random.randrange(3, 30),
                "cache_creation_input_tokens": self._random.randrange(100, 4000),
                "cache_read_input_tokens": self._random.randrange(10_000, 90_000),
                "output_tokens": self._random.randrange(20, 900),
                "service_tier": "standard",
            },
        }
        return self._line("assistant", {"message": message, "requestId": f"req_{self._random.getrandbits(90):024x}"})

    def _line(self, kind: str, body: dict[str, Any]) -> bytes:
        uuid = self._uuid()
        head = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": self.cwd,
            "sessionId": self.session_id,
            "version": VERSION,
            "gitBranch": "main",
            "type": kind,
        }
        self._parent = uuid
        return json.dumps({**head, **body, "uuid": uuid, "timestamp": now()}, separators=(",", ":")).encode() + b"\n"

    def _text(self, mark: str, words: int) -> str:
        return " ".join([*([mark] if mark else []), *self._random.choices(WORDS, k=words)])

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def project_of(number: int) -> str:
    """The directory in which a history's conversation works."""
    return f"/home/dev/project{number % FOLDERS:02}"


def write_history(home: Path, files: int, lines: int = 12, *, torn: frozenset[int] = frozenset()) -> None:
    """Conversations in FOLDERS projects, their numbers as seeds. torn: those whose last line lacks its newline."""
    for number in range(files):
        conversation = Conversation(number, cwd=project_of(number))
        folder = home / ".claude/projects" / conversation.folder
        folder.mkdir(parents=True, exist_ok=True)
        text = b"".join([conversation.prompt(), *(conversation.answer() for _ in range(lines - 1))])
        path = folder / f"{conversation.session_id}.jsonl"
        path.write_bytes(text[:-1] if number in torn else text)
