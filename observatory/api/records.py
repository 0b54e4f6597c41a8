"""Handlers: what is in a conversation: its records, calls, outputs, pictures and hook events; and all of it to take."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from observatory.api.asked import CallsQuery, ExportQuery, HooksQuery, RecordsQuery
from observatory.api.look import must_exist
from observatory.api.rows import hook_row, record_row
from observatory.api.sources import Sources
from observatory.api.table import Call, Document, NoQuery, Reply, Stream, not_found
from observatory.core.batch import key_of_id
from observatory.core.conversation import Conversation
from observatory.core.errors import UsageError
from observatory.core.hook_events import number_of
from observatory.core.images import images_of
from observatory.core.redact import redact
from observatory.export.lines import Copy
from observatory.export.markdown import markdown
from observatory.export.page import page
from observatory.storage.browsing import ArchiveBrowser
from observatory.storage.conversations import Stored, record_of

TYPES = {
    "jsonl": "application/x-ndjson",
    "markdown": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
ENDINGS = {"jsonl": "jsonl", "markdown": "md", "html": "html"}
ALONE = (("Content-Security-Policy", "default-src 'none'; sandbox"),)  # a picture is shown, and can do nothing
EXPORTED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"  # the page that we wrote


async def records(api: Sources, call: Call[RecordsQuery, None]) -> Reply:
    """A range of records."""
    id, asked = call.path["id"], call.query
    if asked.skip is not None or asked.at is not None:
        if asked.after or asked.before or asked.last or None not in (asked.skip, asked.at):
            raise UsageError("skip and at go without after, before, last, and each other")
        return Reply(await api.archive(lambda archive: _placed(archive, id, asked)))
    after, before = (None if key is None else key_of_id(key) for key in (asked.after, asked.before))

    def ask(archive: ArchiveBrowser) -> dict[str, Any]:
        row = _row(archive, id)
        found = archive.page(id, after, before, asked.limit + 1, last=asked.last)
        more = len(found) > asked.limit
        if more:
            found = found[1:] if asked.last else found[:-1]
        told = {"records": [record_row(stored, row) for stored in found], "more": more}
        if asked.count:
            total = archive.count(id)
            told |= {"total": total, "start": archive.count(id, found[0].key) if found else total}
        return told

    return Reply(await api.archive(ask))


def _placed(archive: ArchiveBrowser, id: str, asked: RecordsQuery) -> dict[str, Any]:
    """A range by its place in the conversation."""
    row = _row(archive, id)
    start = asked.skip or 0
    if asked.at is not None:
        key = key_of_id(asked.at)
        if key is None or (found := archive.record(key)) is None or found[1] != id:
            raise not_found("record in this conversation")
        start = max(0, archive.count(id, key) - asked.limit // 2)
    total = archive.count(id)
    rows = [record_row(stored, row) for stored in archive.behind(id, start, asked.limit)]
    return {"records": rows, "more": start + len(rows) < total, "start": start, "total": total}


def _row(archive: ArchiveBrowser, id: str) -> Conversation:
    row = archive.conversation(id)
    if row is None:
        raise not_found("conversation")
    return row


async def record(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """One record whole; of a hook event what it told."""
    number = number_of(call.path["id"])
    if number is not None:
        hook = await api.archive(lambda archive: archive.hook(number))
        if hook is None:
            raise not_found("record")
        told = hook_row(hook)
        record = {"id": told["id"], "type": "hook_event", "kind": "other", "raw": told["payload"]}
        return Reply({"conversation_id": hook.conversation_id, "line": 0, "record": record, "message": None,
                      "raw": hook.body.decode("utf-8", "replace"), "images": 0})  # fmt: skip

    def ask(archive: ArchiveBrowser) -> dict[str, Any]:
        stored, conversation_id = _stored(archive, call.path["id"])
        row = None if conversation_id is None else archive.conversation(conversation_id)
        return {
            "conversation_id": conversation_id,
            **record_row(stored, row, whole=True),
            "raw": stored.body.decode("utf-8", "replace"),
            "images": len(images_of(record_of(stored))),
        }

    return Reply(await api.archive(ask))


def _stored(archive: ArchiveBrowser, id: str) -> tuple[Stored, str | None]:
    key = key_of_id(id)
    found = None if key is None else archive.record(key)
    if found is None:
        raise not_found("record")
    return found


async def image(api: Sources, call: Call[NoQuery, None]) -> Document:
    """A picture of a record."""
    number = call.path["number"]

    def ask(archive: ArchiveBrowser) -> Document:
        found = images_of(record_of(_stored(archive, call.path["id"])[0]))
        if not (number.isascii() and number.isdigit() and len(number) < 5 and int(number) < len(found)):
            raise not_found("image")
        shown = found[int(number)]
        return Document(shown.data, shown.media_type, _etag(shown.data), ALONE)

    return await api.archive(ask)


def _etag(data: bytes) -> str:
    return f'"{blake2b(data, digest_size=12).hexdigest()}"'


async def calls(api: Sources, call: Call[CallsQuery, None]) -> Reply:
    """Tool calls."""
    id, asked = call.path["id"], call.query

    def ask(archive: ArchiveBrowser) -> list[dict[str, Any]]:
        must_exist(archive, id)
        return archive.calls(id, asked.after, asked.limit + 1)

    found = await api.archive(ask)
    return Reply({"tool_calls": found[: asked.limit], "more": len(found) > asked.limit})


async def hooks(api: Sources, call: Call[HooksQuery, None]) -> Reply:
    """What hooks told of it; also while no transcript of it is known."""
    asked = call.query
    found = await api.archive(lambda archive: archive.hooks(call.path["id"], asked.after, asked.limit + 1))
    return Reply({"hooks": [hook_row(row) for row in found[: asked.limit]], "more": len(found) > asked.limit})


async def outputs(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """Outputs that were too big for a line."""
    id = call.path["id"]

    def ask(archive: ArchiveBrowser) -> list[dict[str, Any]]:
        must_exist(archive, id)
        return archive.outputs(id)

    return Reply({"attachments": await api.archive(ask)})


async def output(api: Sources, call: Call[NoQuery, None]) -> Document:
    """The text of one of them."""
    found = await api.archive(lambda archive: archive.output(call.path["id"], call.path["name"]))
    if found is None:
        raise not_found("attachment")
    return Document(found, "text/plain; charset=utf-8", _etag(found), ALONE)


async def export(api: Sources, call: Call[ExportQuery, None]) -> Stream:
    """A conversation as a file."""
    id, asked = call.path["id"], call.query
    await api.archive(lambda archive: must_exist(archive, id))

    name = "".join(char if char.isalnum() or char in "-_" else "_" for char in id)[:100]
    headers = [("Content-Disposition", f'attachment; filename="{name}.{ENDINGS[asked.format]}"')]
    if asked.format == "html":
        headers.append(("Content-Security-Policy", EXPORTED))
    pieces = api.written(lambda archive: _parts(archive, id, asked), redact if asked.redact else None)
    return Stream(pieces, TYPES[asked.format], tuple(headers))


def _parts(archive: ArchiveBrowser, id: str, asked: ExportQuery) -> Iterator[bytes]:
    if asked.format == "jsonl":
        files = archive.files(id)
        for file in files[-1:]:
            yield from Copy(file).pieces(archive.lines(file))
        return
    row = archive.conversation(id)
    assert row is not None, "it was there a moment ago"
    project = archive.project(row.project_id)
    name = row.project_id if project is None else project.name
    make = markdown if asked.format == "markdown" else page
    for part in make(archive, row, name, agents=asked.agents):
        yield part.encode("utf-8", "replace")
