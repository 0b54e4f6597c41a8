"""Keeps every directory of the tree under a watch, or else polled, and every missing root sought."""

import errno
from collections.abc import Collection, Iterable, Iterator

from actors.watch_mounts import is_deaf
from actors.watch_poll import PollBackend
from actors.watch_port import Backend
from actors.watch_tree import Look, Tree

LIMIT, ACCESS, BACKEND = "watch.limit", "watch.access", "watch.backend"  # what can be in trouble
VANISHED = {errno.ENOENT, errno.ENOTDIR}
ACCESS_CURE = "let the server's user list and enter it (chmod u+rx)"
TOLD_BY_LISTING = VANISHED | {errno.EACCES, errno.EPERM}  # the directory, not the watch, is at fault

News = tuple[str, str | None]  # a component, and what troubles it; None: its trouble is over


class Cover:
    """The tree, the back-end and the poller in step. Watches come before listings, so that nothing falls between."""

    def __init__(self, tree: Tree, roots: Collection[str], poll: PollBackend, mount_table: str) -> None:
        self.backend: Backend = poll
        self.failures = 0
        self._news: list[News] = []
        self._tree = tree
        self._roots = roots
        self._poll = poll
        self._mount_table = mount_table
        self._missing: set[str] = set()
        self._always_polled: set[str] = set()
        self._deaf: dict[int, bool] = {}  # by device, until a root or a minute is due: devices are numbered anew
        self._sufferers: dict[str, set[str]] = {}

    @property
    def missing(self) -> frozenset[str]:
        """Roots that are not there, and not under another name either."""
        return frozenset(root for root in self._missing if not self._tree.is_alias(root))

    def take_news(self) -> list[News]:
        """Troubles that came and went since the last call."""
        news, self._news = self._news, []
        return news

    def walk(self, paths: Iterable[str]) -> Iterator[Look]:
        """Look at directories and at all new ones below them, one a step; the caller may pause between steps."""
        todo = list(paths)
        while todo:
            for look in self._visit(todo.pop()):
                yield look
                todo += look.appeared

    def walk_all(self) -> Iterator[Look]:
        """Walk every directory that is known, and every root that is not there."""
        return self.walk([*self._tree.directories, *self._missing])

    def walk_lost_roots(self) -> Iterator[Look]:
        """Walk the roots that are missing, or whose path leads elsewhere: a renamed ancestor sends no event."""
        return self.walk([root for root in self._roots if not self._tree.is_there(root)])

    def walk_stale(self) -> Iterator[Look]:
        """Walk the directories whose entries came or went since their last look; an empty step for each other."""
        self._deaf.clear()
        for path in list(self._tree.directories):
            if self._tree.is_stale(path):
                yield from self.walk([path])
            else:
                yield Look()

    def prepare(self, roots: Iterable[str]) -> None:
        """Watch roots without listing them."""
        for root in roots:
            if self._tree.enter(root).entered:
                self._watch(root)

    def audit(self) -> None:
        """Find the directories that the back-end was silent about, and poll them."""
        known, told = self._tree.directories, self._sufferers.get(ACCESS, set()) | self._always_polled
        for path in self.backend.audit({path: known[path].ident[1] for path in known.keys() - told}):
            self._watch(path)

    def examine(self, path: str, *, sure: bool = True) -> Look:
        """Look at one path; directories that appeared are left to `walk`."""
        look = self._tree.examine(path, sure=sure)
        self._forget(look.dropped)
        if look.linked:
            self._poll_always(path.rpartition("/")[0])
        if path in self._roots and not look.appeared:
            self._settle(path)
        return look

    def degrade(self, error: OSError) -> None:
        """The back-end is lost: poll everything."""
        self.backend = self._poll
        for directory in self._tree.directories:
            self._poll.watch(directory)
        for root in self._missing:
            self._poll.seek(root)
        self._ail(BACKEND, "", f"{error.strerror or error}; everything is polled, until a new try succeeds")

    def restore(self, backend: Backend) -> None:
        """Use a back-end after all: roots first, `walk_all` does the rest. Polling goes on until `rely`."""
        self.backend = backend
        for root in self._roots:
            if root in self._tree.directories:
                self._watch(root)
            self._settle(root)

    def rely(self) -> None:
        """The back-end works: poll no more but what must be."""
        self._recover(BACKEND, "")
        for path in self._tree.directories:
            self._poll_no_more(path)

    def _visit(self, path: str) -> Iterator[Look]:
        if path in self._roots:
            self._deaf.clear()
        look = self._tree.enter(path)
        self._forget(look.dropped)
        if look.entered:
            self._watch(path)
        if path in self._roots:
            self._settle(path)
        if not look.entered:
            yield look
            return
        for listing in self._tree.compare(path):
            if listing.error and listing.error.errno in VANISHED:
                listing = self._tree.drop(path)
            self._forget(listing.dropped)
            self._judge(path, listing)
            look.add(listing)
            yield look
            look = Look()

    def _watch(self, path: str) -> None:
        try:
            self.backend.watch(path)
        except OSError as error:
            if error.errno not in TOLD_BY_LISTING:
                self._poll.watch(path)
                self._ail(LIMIT, path, f"{path}: {error.strerror}; polled instead")
            return
        self._recover(LIMIT, path)
        if self._is_deaf(path):
            self._poll_always(path)

    def _judge(self, path: str, look: Look) -> None:
        if look.error is None:
            self._recover(ACCESS, path)
        else:
            self._poll.watch(path)
            self._ail(ACCESS, path, f"{path}: {look.error.strerror}; {ACCESS_CURE}; tried again now and then")
        if look.linked:
            self._poll_always(path)

    def _forget(self, dropped: Iterable[str]) -> None:
        for path in dropped:
            self.backend.unwatch(path)
            self._poll.unwatch(path)
            self._always_polled.discard(path)
            self._recover(LIMIT, path)
            self._recover(ACCESS, path)
            if path in self._roots:
                self._settle(path)

    def _settle(self, root: str) -> None:
        """Seek a root that is missing, stop seeking one that is there. Each failed look at a root seeks it anew."""
        if root in self._tree.directories:
            self._missing.discard(root)
            self.backend.unseek(root)
            self._poll.unseek(root)
            return
        self._missing.add(root)
        if self.backend is self._poll or not self.backend.seek(root):
            self._poll.seek(root)
        else:
            self._poll.unseek(root)

    def _poll_always(self, path: str) -> None:
        self._always_polled.add(path)
        self._poll.watch(path)

    def _is_deaf(self, path: str) -> bool:
        device = self._tree.directories[path].ident[0]
        if device not in self._deaf:
            self._deaf[device] = is_deaf(path, device, self._mount_table)
        return self._deaf[device]

    def _ail(self, component: str, path: str, detail: str) -> None:
        sufferers = self._sufferers.setdefault(component, set())
        if path not in sufferers:
            self.failures += 1
            if not sufferers:
                self._news.append((component, detail))
            sufferers.add(path)

    def _recover(self, component: str, path: str) -> None:
        sufferers = self._sufferers.get(component)
        if not sufferers or path not in sufferers:
            return
        sufferers.discard(path)
        self._poll_no_more(path)
        if not sufferers:
            self._news.append((component, None))

    def _poll_no_more(self, path: str) -> None:
        still_polled = path in self._always_polled or any(path in others for others in self._sufferers.values())
        if self.backend is not self._poll and not still_polled:
            self._poll.unwatch(path)
