"""A client's picture of conversations and projects, folded from what a subscription hands out (protocol.md §14.6)."""

from typing import Any

import attrs

from observatory.core.client_events import (
    ConversationForgotten,
    ConversationStarted,
    ConversationUpdate,
    Delivery,
    ProjectForgotten,
    ProjectUpdate,
)
from observatory.core.client_items import Snapshot

Row = dict[str, Any]


@attrs.define
class Mirror:
    """Rows by id, with the fields of `conversation_started` and `project_update` as they are now.

    A snapshot replaces everything. An update is merged shallowly: absent fields stay, null clears; one of an unknown id
    is its beginning; what was forgotten goes. Rows are replaced, never changed in place.
    """

    conversations: dict[str, Row] = attrs.field(factory=dict)
    projects: dict[str, Row] = attrs.field(factory=dict)

    def take(self, item: Delivery) -> None:
        """Fold in the next item, in order."""
        match item:
            case Snapshot():
                self.conversations = {row["id"]: row for row in item.conversations}
                self.projects = {row["id"]: row for row in item.projects}
            case ConversationStarted() | ConversationUpdate():
                self.conversations[item.id] = self.conversations.get(item.id, {}) | item.data
            case ProjectUpdate():
                self.projects[item.id] = self.projects.get(item.id, {}) | item.data
            case ConversationForgotten():
                self.conversations.pop(item.id, None)
            case ProjectForgotten():
                self.projects.pop(item.id, None)
            case _:
                pass
