"""Leaves: records that summaries name, in either order of arrival. Which conversation gets its title from where.

There is no index of uuids. New records are compared with the leaves known; for a summary that comes after its leaf all
records are searched once, in a thread (search.py).
"""

from collections.abc import Iterable
from typing import Protocol

import attrs
import structlog

from observatory.core.batch import Batch, Flag
from observatory.core.conversation import Conversation, retitle
from observatory.core.summaries import Summary, last, owner_of, summary_of
from observatory.core.titles import Title
from observatory.core.transcript import Record
from observatory.ingest.items import Item
from observatory.ingest.ledger import Ledger

log = structlog.get_logger()
MAX_LEAVES = 20_000  # leaves followed, about 0.7 KB each; 1 GB of transcripts had 1,100 summaries
SEARCHED = ""  # holder of a leaf that was searched for, and whose name is settled
UUID = 7  # place of the uuid in RecordRow.values


class Shelf(Protocol):
    """What the store has kept."""

    def summaries(self) -> list[Summary]: ...
    def leaves(self) -> list[tuple[str, str]]: ...
    def conversation(self, conversation_id: str) -> Conversation | None: ...


@attrs.define
class Leaf:
    """summary: the one that counts of those naming it. holders: conversations with such a record. settled: the store
    says that its owner has its name."""

    summary: Summary
    holders: set[str] = attrs.field(factory=set)
    owner: str | None = None
    searched: bool = False
    settled: bool = False


@attrs.define(eq=False)
class Leaves:
    """Only the ingest's task touches it. unsearched: leaves that older records may hold; unsettled: others whose owner
    or name may have become another."""

    shelf: Shelf
    unsearched: set[str] = attrs.field(factory=set)
    unsettled: set[str] = attrs.field(factory=set)
    _leaves: dict[str, Leaf] = attrs.field(factory=dict)
    _owned: dict[str, set[str]] = attrs.field(factory=dict)  # by conversation
    _changed: Batch = attrs.field(factory=Batch)
    _full: bool = False

    def __attrs_post_init__(self) -> None:
        self.load()

    def load(self) -> None:
        """Begin with what the store has."""
        self._leaves, self._owned, self._changed = {}, {}, Batch()
        for summary in self.shelf.summaries():
            self._put(summary)
        for uuid, holder in self.shelf.leaves():
            if (leaf := self._leaves.get(uuid)) is None:
                continue
            if holder == SEARCHED:
                leaf.searched = leaf.settled = True
            else:
                leaf.holders.add(holder)
        self.unsearched, self.unsettled = {uuid for uuid, leaf in self._leaves.items() if not leaf.searched}, set()
        for uuid, leaf in self._leaves.items():
            if leaf.searched:
                self._own(uuid, leaf, owner_of(uuid, leaf.holders, self._stored_end))

    def _stored_end(self, conversation_id: str) -> str | None:
        row = self.shelf.conversation(conversation_id)
        return None if row is None else row.last_uuid

    # -- what comes in -------------------------------------------------------------------------------------------------

    def note(self, before: Conversation, after: Conversation, items: Iterable[Item]) -> None:
        """Items were folded into a conversation."""
        leaves = self._leaves
        for item in items:
            value = item.value
            if type(value) is not Record or item.flags & Flag.KNOWN:
                continue
            if value.title is not None and (summary := summary_of(value, after.id)) is not None:
                self._add(summary)
            if value.uuid in leaves:
                self._hold(value.uuid, after.id)
        self._moved_on(before.last_uuid, after.last_uuid)

    def absorb(self, batch: Batch, before: Conversation | None, after: Conversation) -> None:
        """The same for what a worker read; the batch stores its summaries."""
        for summary in batch.summaries.values():
            self._put(summary)
        leaves = self._leaves
        if leaves:
            for row in batch.rows:
                if row[UUID] in leaves:
                    self._hold(row[UUID], after.id)
            self._moved_on(None if before is None else before.last_uuid, after.last_uuid)

    def found(self, searched: Iterable[str], holders: Iterable[tuple[str, str]]) -> None:
        """The records stored before were searched for these leaves."""
        for uuid, holder in holders:
            if uuid in self._leaves:
                self._hold(uuid, holder)
        for uuid in searched:
            if (leaf := self._leaves.get(uuid)) is not None:
                leaf.searched = True
                self.unsearched.discard(uuid)
                self.unsettled.add(uuid)

    def _add(self, summary: Summary) -> None:
        if self._put(summary):
            self._changed.summaries[summary.leaf_uuid, summary.conversation_id] = summary

    def _put(self, summary: Summary) -> bool:
        uuid = summary.leaf_uuid
        leaf = self._leaves.get(uuid)
        if leaf is None:
            if len(self._leaves) >= MAX_LEAVES:
                if not self._full:
                    log.warning("summaries.too_many", followed=MAX_LEAVES)
                self._full = True
                return False
            leaf = self._leaves[uuid] = Leaf(summary)
        elif summary.conversation_id == leaf.summary.conversation_id:
            leaf.summary = summary  # they come in the order of their file
        else:
            leaf.summary = last((leaf.summary, summary)) or summary
        self._doubt(uuid, leaf)
        return True

    def _hold(self, uuid: str, conversation_id: str) -> None:
        leaf = self._leaves[uuid]
        if conversation_id not in leaf.holders:
            leaf.holders.add(conversation_id)
            self._changed.leaves[uuid, conversation_id] = True
            self._doubt(uuid, leaf)

    def _moved_on(self, before: str | None, after: str | None) -> None:
        """Another record is the last: that decides between several holders."""
        if before != after:
            for uuid in (before, after):
                if uuid is not None and (leaf := self._leaves.get(uuid)) is not None and len(leaf.holders) > 1:
                    self._doubt(uuid, leaf)

    def _doubt(self, uuid: str, leaf: Leaf) -> None:
        """Its name is to be settled anew. Until then the store must say so: a process may end any time."""
        (self.unsettled if leaf.searched else self.unsearched).add(uuid)
        if leaf.settled:
            leaf.settled = False
            self._changed.leaves[uuid, SEARCHED] = False

    # -- what follows --------------------------------------------------------------------------------------------------

    def settle(self, ledger: Ledger, batch: Batch, history_done: bool) -> list[str]:
        """Name conversations anew once all history is in; returns those that changed. Rows go into the batch."""
        affected: set[str] = set()
        if history_done:
            for uuid in self.unsettled:
                affected |= self._settle(uuid, ledger)
            self.unsettled.clear()
        changed, self._changed = self._changed, Batch()
        batch.summaries |= changed.summaries
        batch.leaves |= changed.leaves
        return [one for one in sorted(affected) if self._named(one, ledger)]

    def _settle(self, uuid: str, ledger: Ledger) -> set[str]:
        def end(conversation_id: str) -> str | None:
            row = ledger.conversation(conversation_id)
            return None if row is None else row.last_uuid

        leaf = self._leaves[uuid]
        before = leaf.owner
        self._own(uuid, leaf, owner_of(uuid, leaf.holders, end))
        leaf.settled = self._changed.leaves[uuid, SEARCHED] = True
        return {one for one in (before, leaf.owner) if one is not None}

    def _own(self, uuid: str, leaf: Leaf, owner: str | None) -> None:
        if leaf.owner is not None and leaf.owner != owner:
            self._owned[leaf.owner].discard(uuid)
        leaf.owner = owner
        if owner is not None:
            self._owned.setdefault(owner, set()).add(uuid)

    def _named(self, conversation_id: str, ledger: Ledger) -> bool:
        row = ledger.conversation(conversation_id)
        if row is None:
            return False
        summary = last(self._leaves[uuid].summary for uuid in self._owned.get(conversation_id, ()))
        named = retitle(row, None if summary is None else Title("summary", summary.title))
        if named == row:
            return False
        ledger.put_conversation(named)
        return True
