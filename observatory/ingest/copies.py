"""Copies: forks and resumes write the history of a session into a new file. Who held a line first?"""

from typing import Protocol

import attrs

from observatory.core.batch import source_of
from observatory.core.bloom import Bloom
from observatory.core.copy_key import copy_key
from observatory.core.forgetting import FORGOTTEN_SOURCE

REMEMBERED = 32_768  # uuids in memory
BLOOM_BYTES = 64 * 1024  # for half of them: 32 bits each, so that 1 fresh line in 1,400 is hashed and asked for in vain
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
    _met: Bloom = attrs.field(factory=lambda: Bloom(BLOOM_BYTES))  # uuids since `_met_since`
    _met_before: Bloom = attrs.field(factory=lambda: Bloom(BLOOM_BYTES))  # … and those of the time before
    _met_since: str = attrs.field(init=False)
    _unkeyed: list[tuple[bytes, int]] = attrs.field(factory=list)  # (body, record key)
    _changed: dict[int, int] = attrs.field(factory=dict)  # copy key → record key: what the store lacks

    def __attrs_post_init__(self) -> None:
        self._met_since = self.covered_from

    def is_copy(self, uuid: str, stamp: str | None, body: bytes, record: int) -> bool:
        """Whether another source held this line before. stamp: the line's own time; record: its key."""
        met = not self._met.add(uuid) or uuid in self._met_before
        if not met and stamp is not None and stamp >= self.covered_from:
            self._unkeyed.append((body, record))
            return False
        key = copy_key(body)
        if key is None:
            return False
        self._key_all()
        holder = self._changed.get(key)
        if holder is None:
            holder = self.store.first_holder(key)
        if holder is None:
            holder = self._changed[key] = record
        return source_of(holder) != source_of(record)

    def pending(self) -> dict[int, int]:
        """Copy key → record of what was met since `take`: what the store lacks. To be added to."""
        self._key_all()
        return self._changed

    def repeats_forgotten(self, body: bytes) -> bool:
        """Whether a copy is one of a line that was forgotten."""
        key = copy_key(body)
        return key is not None and self.store.first_holder(key) == FORGOTTEN_SOURCE

    def take(self, now: str) -> dict[int, int]:
        """What the store lacks. now: RFC 3339; lines met from now on are stamped later than what was met before."""
        self._key_all()
        changed, self._changed = self._changed, {}
        if self._met.added > REMEMBERED // 2:  # of lines that wait to be read some are older than this moment
            self.covered_from, self._met_since = self._met_since, now
            self._met, self._met_before = Bloom(BLOOM_BYTES), self._met
        return changed

    def _key_all(self) -> None:
        for body, record in self._unkeyed:
            key = copy_key(body)
            if key is not None:
                self._changed.setdefault(key, record)
        self._unkeyed.clear()
