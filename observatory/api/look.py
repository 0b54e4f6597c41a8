"""Handlers: how the server is, and what there is."""

from typing import Any

from observatory import __version__
from observatory.api.asked import ConversationsQuery, SnapshotQuery
from observatory.api.rows import conversation_row, project_row
from observatory.api.sources import Sources
from observatory.api.table import Call, NoQuery, Reply, not_found
from observatory.core.contracts import worst
from observatory.core.listing import Listing
from observatory.storage.browsing import ArchiveBrowser

PATIENCE = 2.0  # seconds for the probe: a pipeline that takes longer for nothing is not well
ALL = 10_000


async def health(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """Well, if a probe gets through the real path and no part is without its means. Open to all: it names no file."""
    probed = await api.monitor.probe(PATIENCE)
    status = worst((api.monitor.health().service_status, "ok" if probed.stuck is None else "unavailable"))
    hops = [{"hop": hop, "seconds": round(seconds, 6)} for hop, seconds in probed.seconds.items()]
    told = {"status": status, "version": __version__, "probe": hops, "stuck": probed.stuck}
    return Reply(told, 503 if status == "unavailable" else 200)


async def status(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """Everything that the server counts."""
    told = api.manager.status()
    position = told.pop("position")
    return Reply({**told, "log": position})


async def clients(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """Who is connected, and who was."""
    return Reply(api.manager.clients())


async def snapshot(api: Sources, call: Call[SnapshotQuery, None]) -> Reply:
    """What a client loads before it follows."""
    return Reply(await api.monitor.events.snapshot(call.query.limit))


async def projects(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """All projects."""
    found = await api.archive(lambda archive: archive.projects())
    return Reply({"projects": [project_row(project) for project in found]})


async def project(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """One project."""
    found = await api.archive(lambda archive: archive.project(call.path["id"]))
    if found is None:
        raise not_found("project")
    return Reply({"project": project_row(found)})


async def conversations(api: Sources, call: Call[ConversationsQuery, None]) -> Reply:
    """A page of conversations."""
    asked = call.query
    wanted = Listing(
        asked.project, asked.status, asked.activity, asked.parent, asked.agents, asked.starred, tuple(asked.tag),
        asked.text, asked.since, asked.sort, asked.order, asked.limit, asked.cursor,
    )  # fmt: skip
    found = await api.archive(lambda archive: archive.listed(wanted))
    rows = [conversation_row(row, said) for row, said in found.rows]
    return Reply({"conversations": rows, "total": found.total, "next": found.next})


async def conversation(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """One conversation."""
    id = call.path["id"]

    def ask(archive: ArchiveBrowser) -> dict[str, Any]:
        return {"conversation": _row(archive, id), "agents": archive.agents(id)}

    return Reply(await api.archive(ask))


async def agents(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """Its sub-agents."""
    id = call.path["id"]

    def ask(archive: ArchiveBrowser) -> list[dict[str, Any]]:
        _row(archive, id)
        return [_row(archive, agent) for agent in archive.agents(id)[:ALL]]

    return Reply({"agents": await api.archive(ask)})


def _row(archive: ArchiveBrowser, id: str) -> dict[str, Any]:
    row = archive.conversation(id)
    if row is None:
        raise not_found("conversation")
    return conversation_row(row, archive.annotation(id))


def must_exist(archive: ArchiveBrowser, id: str) -> None:
    """Raises Refusal: there is no such conversation."""
    if archive.conversation(id) is None:
        raise not_found("conversation")
