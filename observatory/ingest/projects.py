"""Which project a transcript belongs to: its parent's, its first working directory, else its folder's name."""

import attrs

from observatory.core import identity
from observatory.core.conversation import Conversation
from observatory.core.identity import Location
from observatory.core.project import NEVER, Project, name_of, resolve
from observatory.ingest.ledger import Ledger
from observatory.ingest.slugs import directory_of


def project_for(
    ledger: Ledger, machine_id: str, location: Location, root: str, parent: str | None, cwd: str | None, now: str
) -> Project:
    """The project of a new conversation, found or made. parent: id of the conversation above; now: RFC 3339."""
    above = ledger.conversation(parent) if parent is not None else None
    if above is not None and (found := ledger.project(above.project_id)) is not None:
        return found
    if cwd:
        return ledger.project_at(cwd) or _resolved(ledger, machine_id, location.slug, cwd, now)
    name = location.slug or location.stem
    found = ledger.project_in(location.slug) if location.slug else None
    if found is None and location.slug and (listed := directory_of(location.slug, root)):
        return ledger.project_at(listed) or _resolved(ledger, machine_id, location.slug, listed, now)
    return found or _new(identity.project_id(machine_id, name), name, location.slug, False, now)


def _resolved(ledger: Ledger, machine_id: str, slug: str, cwd: str, now: str) -> Project:
    """The first project of a folder is named by the folder, whether its directory is known yet or not: its id must not
    hang on which of its files came first."""
    key = identity.project_id(machine_id, slug or cwd)
    first = ledger.project(key)
    if first is not None and not first.resolved:
        return resolve(first, cwd)
    return _new(key if first is None else identity.project_id(machine_id, cwd), cwd, slug, True, now)


def _new(project_id: str, path: str, slug: str, resolved: bool, now: str) -> Project:
    return Project(project_id, name_of(path), path, slug, resolved, now, now, NEVER)


def upgrade(ledger: Ledger, machine_id: str, conversation: Conversation, cwd: str, now: str) -> Conversation:
    """The first working directory turned up in a conversation whose project was taken from its folder's name."""
    project = ledger.project(conversation.project_id)
    if project is None or project.path == cwd or conversation.parent_id is not None:
        return conversation
    other = ledger.project_at(cwd)
    if other is None and not project.resolved:
        ledger.put_project(attrs.evolve(resolve(project, cwd), updated_at=now))
        return conversation
    if other is None:  # the folder is shared with another directory
        other = _new(identity.project_id(machine_id, cwd), cwd, project.slug, True, now)
    ledger.put_project(attrs.evolve(project, conversation_count=project.conversation_count - 1, updated_at=now))
    ledger.put_project(attrs.evolve(other, conversation_count=other.conversation_count + 1, updated_at=now))
    moved = attrs.evolve(conversation, project_id=other.id)
    ledger.put_conversation(moved)
    return moved
