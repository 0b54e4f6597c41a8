"""Which project a transcript belongs to: its parent's, its first working directory, else its folder's name."""

import attrs

from observatory.core import identity
from observatory.core.conversation import Conversation
from observatory.core.identity import Location
from observatory.core.project import Project, name_of, resolve
from observatory.ingest.ledger import Ledger
from observatory.ingest.slugs import directory_of


@attrs.frozen
class Moments:
    """RFC 3339. active: when the file was last written, which for history is long ago."""

    now: str
    active: str


def project_for(
    ledger: Ledger, machine_id: str, location: Location, root: str, parent: str | None, cwd: str | None, at: Moments
) -> Project:
    """The project of a new conversation, found or made. parent: id of the conversation above."""
    above = ledger.conversation(parent) if parent is not None else None
    if above is not None and (found := ledger.project(above.project_id)) is not None:
        return found
    if cwd:
        return ledger.project_at(cwd) or _resolved(ledger, machine_id, location.slug, cwd, at)
    name = location.slug or location.stem
    found = ledger.project_in(location.slug) if location.slug else None
    if found is None and location.slug and (listed := directory_of(location.slug, root)):
        return ledger.project_at(listed) or _new(
            identity.project_id(machine_id, listed), listed, location.slug, True, at
        )
    return found or _new(identity.project_id(machine_id, name), name, location.slug, False, at)


def _resolved(ledger: Ledger, machine_id: str, slug: str, cwd: str, at: Moments) -> Project:
    unresolved = ledger.project(identity.project_id(machine_id, slug)) if slug else None
    if unresolved is not None and not unresolved.resolved:
        return resolve(unresolved, cwd)
    return _new(identity.project_id(machine_id, cwd), cwd, slug, True, at)


def _new(project_id: str, path: str, slug: str, resolved: bool, at: Moments) -> Project:
    return Project(project_id, name_of(path), path, slug, resolved, at.now, at.now, at.active)


def upgrade(ledger: Ledger, machine_id: str, conversation: Conversation, cwd: str, at: Moments) -> Conversation:
    """The first working directory turned up in a conversation whose project was taken from its folder's name."""
    project = ledger.project(conversation.project_id)
    if project is None or project.path == cwd or conversation.parent_id is not None:
        return conversation
    other = ledger.project_at(cwd)
    if other is None and not project.resolved:
        ledger.put_project(attrs.evolve(resolve(project, cwd), updated_at=at.now))
        return conversation
    if other is None:  # the folder is shared with another directory
        other = _new(identity.project_id(machine_id, cwd), cwd, project.slug, True, at)
    ledger.put_project(attrs.evolve(project, conversation_count=project.conversation_count - 1, updated_at=at.now))
    ledger.put_project(attrs.evolve(other, conversation_count=other.conversation_count + 1, updated_at=at.now))
    moved = attrs.evolve(conversation, project_id=other.id)
    ledger.put_conversation(moved)
    return moved
