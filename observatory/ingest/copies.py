"""Copies: forks and resumes write the history of a session into a new file. Who held a line first?"""

from typing import Protocol

import attrs

from observatory.core.copy_key import copy_key

REMEMBERED = 32_768  # uuids in memory, about 5 MB
MARGIN_MS = 2000  # a line is stamped before it is written, and not always with ms


class FirstHolder(Protocol):
    """The store's answer, for lines of earlier processes or long ago."""

    def first_holder(self, copy_key: int) -> int | None: ...


@attrs.define
class Copies:
    """A fresh line under a new uuid is no copy: whatever is stored with a stamp after `covered_from`, we stored.

    Only other lines are hashed before they are published; the fresh ones when the store wants their keys.
    covered_from: RFC 3339.
    """

    store: FirstHolder
    covered_from: str
    _met: dict[str, None] = attrs.field(factory=dict)  # uuids, oldest first
    _unkeyed: list[tuple[bytes, int]] = attrs.field(factory=list)  # (body, source id)
    _changed: dict[int, int] = attrs.field(factory=dict)  # copy key → source id: what the store lacks

    def is_copy(self, uuid: str, stamp: str | None, body: bytes, source_id: int) -> bool:
        """Whether another source held this line before. stamp: the line's own time."""
        if uuid not in self._met and stamp is not None and stamp >= self.covered_from:
            self._met[uuid] = None
            self._unkeyed.append((body, source_id))
            return False
        self._met[uuid] = None
        key = copy_key(body)
        if key is None:
            return False
        self._key_all()
        holder = self._changed.get(key)
        if holder is None:
            holder = self.store.first_holder(key)
        if holder is None:
            holder = self._changed[key] = source_id
        return holder != source_id

    def take(self, covered_from: str) -> dict[int, int]:
        """What the store lacks. covered_from: from when on memory is complete if the oldest are forgotten now."""
        self._key_all()
        changed, self._changed = self._changed, {}
        if len(self._met) > REMEMBERED:
            for uuid in list(self._met)[: REMEMBERED // 2]:
                del self._met[uuid]
            self.covered_from = covered_from
        return changed

    def _key_all(self) -> None:
        for body, source_id in self._unkeyed:
            key = copy_key(body)
            if key is not None:
                self._changed.setdefault(key, source_id)
        self._unkeyed.clear()
