"""What a watcher needs from a back-end: told which directories matter, it answers with hints."""

import errno
from collections.abc import Mapping
from typing import Protocol

import attrs

CURES = {
    errno.ENOSPC: "no inotify watches left; raise the sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "no inotify instances left; raise the sysctl fs.inotify.max_user_instances (or `ulimit -n`)",
}


@attrs.define
class Hints:
    """One batch of what the system told. Dicts are ordered sets: several events of one path are one hint."""

    modified: dict[str, None] = attrs.Factory(dict[str, None])  # content changed, the name did not
    suspects: dict[str, None] = attrs.Factory(dict[str, None])  # appeared, vanished, was replaced: look at the disk
    rescan: bool = False  # something may have been missed: compare everything with the disk
    overflow: bool = False  # … because the system's own queue ran over


class Backend(Protocol):
    """One way to hear of changes. Calls are quick and synchronous; only `run`, `ready` and `next_hints` wait."""

    @property
    def name(self) -> str:
        """The back-end's name, as in the watcher's statistics."""
        ...

    def watch(self, directory: str) -> None:
        """From now on (`ready` says when) changes of the directory's entries become hints. Repeating it repairs.

        Raises: OSError: no watch can be had; `strerror` names the cure where there is one.
        """
        ...

    def unwatch(self, directory: str) -> None:
        """Forget a directory; unknown ones are ignored."""
        ...

    def audit(self, directories: Mapping[str, int]) -> frozenset[str]:
        """Which directories (each with its inode) have silently gone without a watch; `watch` raises for those now."""
        ...

    def seek(self, root: str) -> bool:
        """Make a missing root a suspect when it may have appeared. False: this back-end cannot, poll for it."""
        ...

    def unseek(self, root: str) -> None:
        """The root is there, or no longer of interest."""
        ...

    async def ready(self) -> None:
        """Wait until every watch asked for is active, or the back-end has failed."""
        ...

    async def run(self) -> None:
        """The back-end's own work, if it has any, beside its callers.

        Raises: OSError: it is lost; `next_hints` raises as well from now on.
        """
        ...

    async def next_hints(self) -> Hints:
        """Wait for the next hints. Raises OSError when the back-end is lost."""
        ...

    def close(self) -> None:
        """Give everything back to the system."""
        ...
