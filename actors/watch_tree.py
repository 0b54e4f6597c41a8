"""What is known of the watched directories and files, and how the disk differs from it."""

import os
import stat
from collections.abc import Callable, Iterator

import attrs

Version = tuple[int, int, int, int, int]  # dev, ino, size, mtime_ns, ctime_ns: two versions of a file differ in one
Ident = tuple[int, int]  # dev, ino
ENTRIES = 200  # of a directory in one look: about 2 ms with all that follows from them


@attrs.define
class Look:
    """What one look at the disk found, as paths; the new versions are in `Tree.files`."""

    entered: bool = False  # the directory looked at is part of the tree
    changed: list[str] = attrs.Factory(list[str])  # files that are new or differ
    gone: list[str] = attrs.Factory(list[str])  # files that were known
    appeared: list[str] = attrs.Factory(list[str])  # directories that want a look of their own
    dropped: list[str] = attrs.Factory(list[str])  # directories that left the tree
    linked: bool = False  # a symlinked file: the watch on its directory never hears of writes to the target
    error: OSError | None = None  # the directory could not be listed

    def add(self, other: "Look") -> None:
        """Take over what another look found."""
        self.changed += other.changed
        self.gone += other.gone
        self.appeared += other.appeared
        self.dropped += other.dropped
        self.linked |= other.linked
        self.error = other.error or self.error


@attrs.define
class Directory:
    """One directory, under the first path it was met by."""

    ident: Ident
    ctime_ns: int  # moves with every entry added or removed, and with chmod
    files: set[str] = attrs.Factory(set[str])
    children: set[str] = attrs.Factory(set[str])


class Tree:
    """The known directories and wanted files. Every look is synchronous and leaves a consistent tree.

    Symlinked directories are followed. One directory is known by one path only (by device and inode), which also
    stops loops; its other names wait in `_aliases`, should the first one vanish.
    """

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.files: dict[str, Version] = {}
        self.directories: dict[str, Directory] = {}
        self._wanted = wanted
        self._paths: dict[Ident, str] = {}
        self._aliases: set[str] = set()

    def enter(self, path: str) -> Look:
        """Make a directory part of the tree, or find out that it no longer is. Does not list it."""
        self._aliases.discard(path)
        status = _directory_status(path)
        known = self.directories.get(path)
        if status is None:
            return self.drop(path)
        ident = (status.st_dev, status.st_ino)
        if known is not None and known.ident == ident:
            known.ctime_ns = status.st_ctime_ns
            return Look(entered=True)
        look = self.drop(path)
        other = self._paths.get(ident)
        if other is not None and self._still_at(other, ident):
            self._aliases.add(path)
            return look
        if other is not None:
            look.add(self.drop(other))
        self._adopt(path, Directory(ident, status.st_ctime_ns))
        look.entered = True
        return look

    def compare(self, path: str) -> Iterator[Look]:
        """List an entered directory, `ENTRIES` a look, and say how its entries differ from what was known.

        Others may change the tree between two looks. So what was not listed is looked at once more before it counts
        as gone, and a directory that has left the tree is left alone.
        """
        directory, look = self.directories[path], Look(entered=True)
        seen: set[str] = set()
        try:
            with os.scandir(path) as entries:
                for number, entry in enumerate(entries, 1):
                    self._compare_entry(entry, directory, seen, look)
                    if number % ENTRIES == 0:
                        yield look
                        if self.directories.get(path) is not directory:
                            return
                        look = Look(entered=True)
        except OSError as error:
            look.error = error  # what was known stays known: unreadable is not gone
            yield look
            return
        for number, missed in enumerate([*(directory.files - seen), *(directory.children - seen)], 1):
            look.add(self.examine(missed, sure=False))
            if number % ENTRIES == 0:
                yield look
                look = Look(entered=True)
        yield look

    def examine(self, path: str, *, sure: bool = True) -> Look:
        """Look at one path of any kind. `sure`: a wanted file that is there has changed, whatever its version says."""
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return self._vanish(path)
        except OSError:
            return Look()  # cannot be told now; what was known stays known
        if stat.S_ISDIR(status.st_mode):
            look = self._vanish_file(path)
            look.appeared.append(path)
            return look
        look = self.drop(path)
        if not stat.S_ISREG(status.st_mode) or not self._wanted(path):
            look.add(self._vanish_file(path))
            return look
        directory = self.directories.get(os.path.dirname(path))
        if directory is None:
            return self._examine_elsewhere(path, sure=sure)
        self._note(path, status, directory, look, sure=sure, linked=path not in self.files and os.path.islink(path))
        return look

    def drop(self, path: str) -> Look:
        """Forget a directory and everything below it."""
        look, todo = Look(), [path]
        while todo:
            directory = self.directories.pop(here := todo.pop(), None)
            if directory is None:
                continue
            del self._paths[directory.ident]
            for file in directory.files:
                del self.files[file]
            look.gone += directory.files
            look.dropped.append(here)
            todo += directory.children
        if look.dropped:
            look.appeared += self._aliases  # one of them may be a name of what was dropped
            if parent := self.directories.get(os.path.dirname(path)):
                parent.children.discard(path)
        return look

    def is_alias(self, path: str) -> bool:
        """Whether the path was met as another name of a known directory."""
        return path in self._aliases

    def is_there(self, path: str) -> bool:
        """Whether the path still leads to the directory that is known by it: one stat."""
        directory = self.directories.get(path)
        return directory is not None and self._still_at(path, directory.ident)

    def is_stale(self, path: str) -> bool:
        """Whether entries came or went since the directory was last entered: one stat."""
        directory, status = self.directories.get(path), _directory_status(path)
        if directory is None or status is None:
            return True
        return directory.ctime_ns != status.st_ctime_ns or directory.ident != (status.st_dev, status.st_ino)

    def _adopt(self, path: str, directory: Directory) -> None:
        self.directories[path] = directory
        self._paths[directory.ident] = path
        if parent := self.directories.get(os.path.dirname(path)):
            parent.children.add(path)

    def _still_at(self, path: str, ident: Ident) -> bool:
        status = _directory_status(path)
        return status is not None and (status.st_dev, status.st_ino) == ident

    def _compare_entry(self, entry: os.DirEntry[str], directory: Directory, seen: set[str], look: Look) -> None:
        path = entry.path
        try:
            if path not in directory.files and entry.is_dir():
                seen.add(path)
                if path in self.directories:
                    directory.children.add(path)
                else:
                    look.appeared.append(path)
            elif self._wanted(path):
                self._compare_file(entry, directory, seen, look)
        except FileNotFoundError:
            return  # went away while we looked, or a link to nowhere
        except OSError:
            seen.add(path)  # cannot be told now; what was known stays known

    def _compare_file(self, entry: os.DirEntry[str], directory: Directory, seen: set[str], look: Look) -> None:
        path, status = entry.path, entry.stat()
        if stat.S_ISREG(status.st_mode):
            seen.add(path)
            if path in self.directories:  # took the place of a directory
                look.add(self.drop(path))
            self._note(path, status, directory, look, sure=False, linked=entry.is_symlink())
        elif stat.S_ISDIR(status.st_mode):  # took the place of a file
            look.appeared.append(path)

    def _note(
        self, path: str, status: os.stat_result, directory: Directory, look: Look, *, sure: bool, linked: bool
    ) -> None:
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        look.linked |= linked
        if self.files.get(path) != version:
            self.files[path] = version
            directory.files.add(path)
            look.changed.append(path)
        elif sure:
            look.changed.append(path)

    def _examine_elsewhere(self, path: str, *, sure: bool) -> Look:
        """The file's directory is not known by this path: it has another name, or was not met yet."""
        parent, name = os.path.split(path)
        status = _directory_status(parent)
        if status is None:
            return Look()
        home = self._paths.get((status.st_dev, status.st_ino))
        if home is None:
            return Look(appeared=[parent])
        return self.examine(os.path.join(home, name), sure=sure)

    def _vanish(self, path: str) -> Look:
        look = self.drop(path)
        look.add(self._vanish_file(path))
        return look

    def _vanish_file(self, path: str) -> Look:
        if self.files.pop(path, None) is None:
            return Look()
        self.directories[os.path.dirname(path)].files.discard(path)
        return Look(gone=[path])


def _directory_status(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISDIR(status.st_mode) else None
