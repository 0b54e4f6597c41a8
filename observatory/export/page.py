"""A conversation as one page of HTML that needs nothing else: no script, no link to load anything from anywhere.

All of it comes from transcripts, so from anywhere: texts are escaped, the Markdown of answers is rendered without HTML
and cleaned again, and the page itself forbids whatever it does not need.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from importlib import resources

import nh3
from markdown_it import MarkdownIt

from observatory.core.conversation import Conversation
from observatory.core.neutral import neutral
from observatory.core.timeline import Called, Entry, Noted, Picture, Said, Thought
from observatory.export.story import Agent, story
from observatory.export.words import LEFT_OUT, MARKS, asked, clock, is_error, outcome
from observatory.storage.conversations import ConversationReader

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
TAGS = {
    *(
        "p",
        "br",
        "hr",
        "em",
        "strong",
        "s",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
    ),
    *("h6", "table", "thead", "tbody", "tr", "th", "td", "a"),
}
IMAGE_BYTES = 4 * 1024 * 1024  # of one image, in base64; larger ones are left out
DEEPEST = 8  # sub-agents of sub-agents
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_ROWS = {"+": "add", "-": "del", "@": "at"}


def page(reader: ConversationReader, row: Conversation, project: str, *, agents: bool) -> Iterator[str]:
    """The whole page, in parts."""
    title = _text(row.title or "Untitled")
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
        f"<p>{_text(project)} · {_text(row.created_at[:10])} · {row.message_count} messages"
        f" · <code>{_text(row.id)}</code></p>\n</header>\n<main>\n"
    )
    yield from _entries(reader, story(reader, row.id), agents, 0)
    yield "</main>\n</body>\n</html>\n"


@lru_cache(1)
def _style() -> str:
    return resources.files("observatory.export").joinpath("page.css").read_text()


def _entries(reader: ConversationReader, entries: Iterable[Entry | Agent], agents: bool, depth: int) -> Iterator[str]:
    seen: str | None = None
    for entry in entries:
        if not isinstance(entry, Agent):
            anchor = "" if entry.record == seen else f' id="r{_text(entry.record)}"'
            seen = entry.record
            yield "".join(_entry(entry, anchor))
        elif agents and depth < DEEPEST:
            row = entry.conversation
            told = f"Sub-agent <b>{_text(row.title or row.id)}</b> · {row.message_count} messages"
            yield f'<details class="agent"><summary>{told}</summary>\n'
            yield from _entries(reader, story(reader, row.id), agents, depth + 1)
            yield "</details>\n"


def _entry(entry: Entry, anchor: str) -> Iterator[str]:
    at = f'<a class="at" href="#r{_text(entry.record)}">{_text(clock(entry.at)) or "#"}</a>'
    match entry:
        case Said(who="user", text=text):
            yield f'<article class="user"{anchor}><h2>You {at}</h2><div class="typed">{_text(text)}</div></article>\n'
        case Said(text=text):
            yield f'<article class="claude"{anchor}><h2>Claude {at}</h2>{rendered(text)}</article>\n'
        case Thought(text=text):
            yield f'<details class="thinking"{anchor}><summary>Thinking {at}</summary>{_block(text)}</details>\n'
        case Called():
            yield from _called(entry, anchor, at)
        case Picture():
            yield f"<figure{anchor}>{_image(entry)}</figure>\n"
        case Noted(what="note", text=text):
            yield f'<details class="thinking"{anchor}><summary>Note {at}</summary>{_block(text)}</details>\n'
        case Noted(what=what, text=text) if what not in LEFT_OUT:
            yield f'<article class="note {what}"{anchor}><h2>{MARKS[what]} {at}</h2>{_block(text)}</article>\n'


def _called(entry: Called, anchor: str, at: str) -> Iterator[str]:
    told, ended, failed = asked(entry.call), outcome(entry.answer), is_error(entry.answer)
    title = f" <code>{_text(told.title)}</code>" if told.title else ""
    how = f' <span class="{"error" if failed else "took"}">{_text(ended)}</span>' if ended else ""
    yield f'<details class="tool{" failed" if failed else ""}"{anchor}{" open" if told.kind == "diff" else ""}>'
    yield f"<summary><b>{_text(entry.call.name or 'Result')}</b>{title}{how} {at}</summary>"
    if told.body:
        yield _diff(told.body) if told.kind == "diff" else _block(told.body)
    if entry.answer is not None and entry.answer.result is not None and entry.answer.result.content:
        yield _block(entry.answer.result.content, "result")
    yield "</details>\n"


def _image(picture: Picture) -> str:
    if not picture.data or len(picture.data) > IMAGE_BYTES or not _BASE64.issuperset(picture.data):
        return f"<figcaption>[{_text(picture.media_type)}]</figcaption>"
    return f'<img alt="an image of the conversation" src="data:{_text(picture.media_type)};base64,{picture.data}">'


def _diff(text: str) -> str:
    rows = [(_ROWS.get(line[:1], ""), line) for line in text.split("\n")]
    marked = [f'<span class="{kind}">{_text(line)}</span>' if kind else _text(line) for kind, line in rows]
    return f'<pre class="diff">{chr(10).join(marked)}</pre>'


def _block(text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f"<pre{name}>{_text(text.rstrip())}</pre>"


def _text(text: str) -> str:
    """A text in which nothing is HTML, with what is invisible made visible; line breaks stay."""
    return "\n".join([escape(neutral(line.expandtabs(4))) for line in text.split("\n")])


def rendered(text: str) -> str:
    """The Markdown of an answer as clean HTML. Links lead to the web only, and tell nothing of where they were."""
    shown = "\n".join([neutral(line.expandtabs(4)) for line in text.split("\n")])
    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(shown)
    return nh3.clean(
        made,
        tags=TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )
