"""The files that are known: by path, and by inode, so that a moved one is known again under its new name."""

import os
from collections.abc import Callable, Collection

import attrs

from observatory.core.batch import FileState, SourceRow
from observatory.core.forgetting import ForgottenFile, KeptOut
from observatory.core.identity import is_transcript

Ident = tuple[int, int]  # device and inode


@attrs.define
class Sources:
    """Rows as reading stands; the store's may be behind.

    roots: root → when it was first scanned, in ms. A root that has shown no file yet is late: it was missing or empty,
    and what it holds when it shows (a disk that is mounted, a restored home) is history if it is older than that scan.
    """

    new_id: Callable[[], int]
    started_ns: int
    by_path: dict[str, SourceRow] = attrs.field(factory=dict)
    roots: dict[str, int] = attrs.field(factory=dict)
    kept_out: KeptOut = attrs.field(factory=KeptOut)  # forgotten: not read again
    path_of: dict[int, str] = attrs.field(init=False)  # where a source was seen last
    late_roots: set[str] = attrs.field(init=False)  # … when this process began to look at them
    _paths: dict[Ident, str] = attrs.field(init=False)  # where a file was seen last
    _aliases: dict[str, str] = attrs.field(factory=dict)  # further name → the path that its file is known by
    _displaced: dict[Ident, SourceRow] = attrs.field(factory=dict)  # another file took their name; theirs may turn up

    def __attrs_post_init__(self) -> None:
        self._paths = {_ident(row.state): path for path, row in self.by_path.items()}
        self.path_of = {row.id: path for path, row in self.by_path.items()}
        self.late_roots = self.roots.keys() - {row.root for row in self.by_path.values()}

    def bytes_behind(self) -> int:
        """Bytes that are in the files, as they were seen last, and not read yet."""
        return sum(max(0, row.state.size - row.offset) for row in self.by_path.values() if not row.missing)

    def put(self, row: SourceRow) -> None:
        """A row's new values."""
        self.by_path[row.path] = row
        self.path_of[row.id] = row.path
        self._paths[_ident(row.state)] = row.path

    def forget(self, files: Collection[ForgottenFile]) -> None:
        """Files that are not followed any more, under whatever name."""
        ids = {file.id for file in files}
        for path in [path for path, row in self.by_path.items() if row.id in ids]:
            row = self.by_path.pop(path)
            self._paths.pop(_ident(row.state), None)
            self.take_aliases(path)
        for ident in [ident for ident, row in self._displaced.items() if row.id in ids]:
            del self._displaced[ident]
        self.kept_out.add(files)

    def new(self, path: str, state: FileState) -> SourceRow:
        """A row for a file that appeared after its root's first scan."""
        root = self.root_of(path)
        old = root in self.late_roots and state.mtime_ns < self.roots[root] * 1_000_000
        history = state.size if old else 0
        return SourceRow(self.new_id(), path, root, state, backfill_until=history)

    def holder(self, path: str, state: FileState) -> SourceRow | None:
        """The source that was last seen in this file under another path. Inodes are reused: compare the content."""
        ident = _ident(state)
        other = self._paths.get(ident)
        row = self.by_path.get(other) if other is not None and other != path else None
        return row if row is not None and _ident(row.state) == ident else self._displaced.get(ident)

    def beside(self, row: SourceRow, state: FileState) -> str | None:
        """Where a source's file lies now that another file, of this state, has its name: only in the same folder."""
        if _ident(row.state) == _ident(state):
            return None
        try:
            with os.scandir(os.path.dirname(row.path)) as entries:
                found = [entry.path for entry in entries if entry.inode() == row.state.ino]
        except OSError:
            return None
        new = (path for path in found if path not in self.by_path and not self.kept_out.holds(path))
        return next(filter(is_transcript, new), None)

    def alias(self, row: SourceRow, path: str) -> bool:
        """Whether a path is only one more name of a source's file; it is remembered, should the first one vanish."""
        try:
            found = os.stat(row.path)
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != (row.state.dev, row.state.ino):
            return False
        self._aliases[path] = row.path
        return True

    def known_by(self, path: str) -> str | None:
        """The path that a file is known by, if this is another name of it: a write may be told under either."""
        row = self.by_path.get(self._aliases.get(path, ""))
        if row is None:
            return None
        try:
            found = os.stat(path)
        except OSError:
            found = None
        if found is not None and (found.st_dev, found.st_ino) == (row.state.dev, row.state.ino):
            return row.path
        del self._aliases[path]
        return None

    def take_aliases(self, path: str) -> list[str]:
        """Other names of a path that is gone."""
        names = [name for name, known in self._aliases.items() if known == path]
        for name in names:
            del self._aliases[name]
        return names

    def rename(self, row: SourceRow, path: str) -> SourceRow:
        """The row under another path, where no source may be."""
        self.by_path.pop(row.path, None)
        self._displaced.pop(_ident(row.state), None)
        moved = attrs.evolve(row, path=path, root=self.root_of(path), missing=False)
        self.put(moved)
        return moved

    def displace(self, path: str) -> SourceRow | None:
        """Make room at a path for another source; returns the row that stood there, under a name that no file has."""
        row = self.by_path.pop(path, None)
        if row is None:
            return None
        displaced = self._displaced[_ident(row.state)] = attrs.evolve(row, path=f"{path}#{row.id}", missing=True)
        return displaced

    def root_of(self, path: str) -> str:
        """The innermost root above a path; "/" if there is none."""
        above = (root for root in self.roots if path.startswith(root + "/"))
        return max(above, key=len, default="/")


def _ident(state: FileState) -> Ident:
    return state.dev, state.ino
