"""A project: the working directory that conversations share. Source: transcripts.md §2; protocol.md §6."""

from typing import Any, Literal

import attrs

from observatory.core.decode import valid

NEVER = "1970-01-01T00:00:00.000Z"


@attrs.frozen
class Project:
    """A project's row. `path` is its first cwd, or the slug while `resolved` is false. Times: RFC 3339, ms, Z.

    last_activity: the latest stamp in its transcripts, or when a line without one came in live. NEVER while there is
    neither: when a file was written must not tell, it may be a copy.
    """

    id: str
    name: str
    path: str
    slug: str
    resolved: bool
    created_at: str
    updated_at: str
    last_activity: str
    conversation_count: int = 0
    status: Literal["active", "inactive"] = "active"


def name_of(path: str) -> str:
    """The last part of a directory, also of another machine's; the path itself if it has none."""
    parts = path.replace("\\", "/").rstrip("/").rpartition("/")
    return parts[2] or path


def resolve(project: Project, cwd: str) -> Project:
    """The project once its directory is known. The id stays: ids never change."""
    return attrs.evolve(project, name=name_of(cwd), path=cwd, resolved=True)


def update(old: Project | None, new: Project) -> dict[str, Any] | None:
    """`data` of project_update; None if nothing a client sees has changed. The optional keys only if they changed."""
    data: dict[str, Any] = {
        "id": new.id,
        "name": valid(new.name),
        "path": valid(new.path),
        "created_at": new.created_at,
        "updated_at": new.updated_at,
        "last_activity": new.created_at if new.last_activity == NEVER else new.last_activity,
    }
    if old is None:
        return data | {"conversation_count": new.conversation_count, "status": new.status}
    if attrs.evolve(old, slug=new.slug, resolved=new.resolved) == new:
        return None
    if old.conversation_count != new.conversation_count:
        data["conversation_count"] = new.conversation_count
    if old.status != new.status:
        data["status"] = new.status
    return data
