"""What can be searched of a record: its readable texts, by who said them, and what a search may ask for beside words.

It reads hundreds of MB a second, so it takes from a line what it needs and no more; what a line means is decided in
core/transcript.py. Source: transcripts.md §3, §11.
"""

from collections.abc import Iterator
from typing import Any

from observatory.core import readable
from observatory.core.blocks import text_of
from observatory.core.decode import NotJson, decode, valid
from observatory.core.frozen import frozen
from observatory.core.search_words import spread

COLUMNS = ("said", "thinking", "input", "result", "other")
ERROR = 1024  # a flag beside those of core/batch.py: a tool's error, or the API's


class Role:
    """Who speaks in a record; bits, as a line may hold several."""

    USER = 1
    ASSISTANT = 2
    THINKING = 4
    TOOL_USE = 8
    TOOL_RESULT = 16
    OTHER = 32


ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "thinking": Role.THINKING,
    "tool_use": Role.TOOL_USE,
    "tool_result": Role.TOOL_RESULT,
    "other": Role.OTHER,
}
Found = dict[str, Any]


@frozen
class Document:
    """texts: one for each of COLUMNS, spread. tool, calls: the first one that is called, and the call's id. answers:
    the id of the first call whose result it holds. error: a tool's or the API's. model: who wrote it."""

    texts: tuple[str, ...]
    role: int
    tool: str | None = None
    calls: str | None = None
    answers: str | None = None
    error: bool = False
    model: str | None = None


@frozen
class Passage:
    """A stretch of readable text of one role, as it stands in the record."""

    role: int
    text: str


_COLUMN = {
    Role.USER: 0,
    Role.ASSISTANT: 0,
    Role.THINKING: 1,
    Role.TOOL_USE: 2,
    Role.TOOL_RESULT: 3,
    Role.OTHER: 4,
}


def document(body: bytes) -> Document | None:
    """A record's body as it goes into the index; None if it says nothing."""
    found = _value(body)
    spoken = passages(found)
    if not spoken:
        return None
    columns, role = ["", "", "", "", ""], 0
    for passage in spoken:
        role |= passage.role
        column, said = _COLUMN[passage.role], spread(passage.text)
        columns[column] = f"{columns[column]}\n{said}" if columns[column] else said
    texts = tuple(columns)
    if type(found) is not dict:
        return Document(texts, role)
    message = _object(found, "message")
    tool, calls, answers, error = _calls(message.get("content"))
    model = message.get("model")
    failed = error or found.get("isApiErrorMessage") is True or found.get("subtype") in ("api_error", "error")
    return Document(texts, role, tool, calls, answers, failed, model if type(model) is str else None)


def passages_of(body: bytes) -> list[Passage]:
    """The readable texts of a record's body, in order: what a snippet is cut from."""
    return passages(_value(body))


def passages(found: object) -> list[Passage]:
    """The readable texts of a decoded record; of what is no JSON, its text."""
    if type(found) is not dict:
        return [Passage(Role.OTHER, found)] if type(found) is str and found else []
    type_, message = found.get("type"), found.get("message")
    if type_ in ("user", "assistant") and type(message) is dict:
        speaker = Role.USER if type_ == "user" else Role.ASSISTANT
        return [passage for passage in _spoken(message.get("content"), speaker) if passage.text]
    # A running tool's heartbeats say what its result will say.
    text = readable.text(type_, found) if type(type_) is str and type_ != "progress" else None
    return [Passage(Role.OTHER, text)] if text else []


def _value(body: bytes) -> object:
    try:
        return decode(body)[0]
    except NotJson:
        return valid(body.decode("utf-8", "replace"))


def _spoken(content: object, speaker: int) -> Iterator[Passage]:
    if type(content) is str:
        yield Passage(speaker, content)
    for block in content if type(content) is list else ():
        if type(block) is str:
            yield Passage(speaker, block)
        elif type(block) is dict:
            yield from _block(block, speaker)


def _block(block: Found, speaker: int) -> Iterator[Passage]:
    match block.get("type"):
        case "text" | "thinking" as kind if type(said := block.get(kind)) is str:
            yield Passage(Role.THINKING if kind == "thinking" else speaker, said)
        case "tool_use" | "server_tool_use":
            yield Passage(Role.TOOL_USE, "\n".join(_strings([block.get("name"), block.get("input")])))
        case "tool_result":
            yield Passage(Role.TOOL_RESULT, text_of(block.get("content")))


def _strings(value: object) -> Iterator[str]:
    """All texts in a JSON value, in order; names of fields are none."""
    if type(value) is str:
        yield value
    elif type(value) is dict:
        for item in value.values():
            yield from _strings(item)
    elif type(value) is list:
        for item in value:
            yield from _strings(item)


def _calls(content: object) -> tuple[str | None, str | None, str | None, bool]:
    """The first call's tool and id, the id of the first call that is answered, and whether an answer is an error."""
    tool = calls = answers = None
    error = False
    for block in content if type(content) is list else ():
        if type(block) is not dict:
            continue
        if block.get("type") == "tool_use" and tool is None:
            tool, calls = _text(block, "name"), _text(block, "id")
        elif block.get("type") == "tool_result":
            answers = answers or _text(block, "tool_use_id")
            error = error or block.get("is_error") is True
    return tool, calls, answers, error


def _object(found: Found, key: str) -> Found:
    value = found.get(key)
    return value if type(value) is dict else {}


def _text(found: Found, key: str) -> str | None:
    value = found.get(key)
    return value if type(value) is str else None
