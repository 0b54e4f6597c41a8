"""A conversation as Markdown, for forges and notes: fences that no content can end, sub-agents folded."""

import re
from collections.abc import Iterable, Iterator
from html import escape

from observatory.core.conversation import Conversation
from observatory.core.timeline import Called, Entry, Noted, Picture, Said, Thought
from observatory.export.story import Agent, story
from observatory.export.words import LEFT_OUT, MARKS, asked, clock, outcome
from observatory.storage.conversations import ConversationReader

_FENCE = re.compile("^[ \t]*(`{3,})", re.MULTILINE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~-])")
DEEPEST = 8  # sub-agents of sub-agents


def markdown(reader: ConversationReader, row: Conversation, project: str, *, agents: bool) -> Iterator[str]:
    """The whole of it, in parts."""
    yield f"# {plain(row.title or 'Untitled')}\n\n"
    yield f"- project: {plain(project)}\n- conversation: `{row.id}`\n- from {row.created_at} to {row.updated_at}\n"
    yield f"- messages: {row.message_count}\n\n"
    yield from _entries(reader, story(reader, row.id), agents, 0)


def _entries(reader: ConversationReader, entries: Iterable[Entry | Agent], agents: bool, depth: int) -> Iterator[str]:
    for entry in entries:
        if not isinstance(entry, Agent):
            yield "".join(_entry(entry))
        elif agents and depth < DEEPEST:
            row = entry.conversation
            yield f"<details>\n<summary>Sub-agent {escape(row.title or row.id)}</summary>\n\n"
            yield from _entries(reader, story(reader, row.id), agents, depth + 1)
            yield "</details>\n\n"


def _entry(entry: Entry) -> Iterator[str]:
    at = f" · {clock(entry.at)}" if clock(entry.at) else ""
    match entry:
        case Said(who=who, text=text):
            yield f"## {'User' if who == 'user' else 'Claude'}{at}\n\n"
            yield f"{quoted(text) if who == 'user' else harmless(text)}\n\n"
        case Thought(text=text):
            yield f"<details>\n<summary>Thinking{at}</summary>\n\n{fenced(text)}\n\n</details>\n\n"
        case Called():
            yield from _called(entry)
        case Picture(media_type=kind):
            yield f"*[{plain(kind)}]*\n\n"
        case Noted(what=what, text=text) if what not in LEFT_OUT:
            yield f"*{MARKS[what]}*{at}\n\n{fenced(text)}\n\n"


def _called(entry: Called) -> Iterator[str]:
    told, ended = asked(entry.call), outcome(entry.answer)
    title = f" {code(told.title)}" if told.title else ""
    yield f"**{plain(entry.call.name or 'Result')}**{title}{f' · {ended}' if ended else ''}\n\n"
    if told.body:
        yield f"{fenced(told.body, told.kind if told.kind != 'text' else '')}\n\n"
    if entry.answer is not None and entry.answer.result is not None and entry.answer.result.content:
        yield f"<details>\n<summary>Result</summary>\n\n{fenced(entry.answer.result.content)}\n\n</details>\n\n"


def plain(text: str) -> str:
    """A text in which nothing is Markdown, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A text as code, on one line."""
    line = " ".join(text.split())
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{ticks} {line} {ticks}" if "`" in line else f"`{line}`"


def fenced(text: str, language: str = "") -> str:
    """A block of code that the text cannot end."""
    ticks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    fence = ticks if len(ticks) > 3 else "```"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def quoted(text: str) -> str:
    """What a person typed, as it was typed."""
    return "\n".join([f"> {escape(line, quote=False)}".rstrip() for line in text.rstrip().split("\n")])


def harmless(text: str) -> str:
    """Markdown of an answer whose HTML is text, and whose fences are closed."""
    lines, fence = [], ""
    for line in text.rstrip().split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and line.strip() == found[1] and len(found[1]) >= len(fence):
            fence = ""
        lines.append(line if fence or found else line.replace("<", "&lt;"))
    return "\n".join([*lines, fence] if fence else lines)
