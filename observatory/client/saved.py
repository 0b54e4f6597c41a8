"""A saved position: one small file by which a program resumes across its own restarts."""

import os
from pathlib import Path

import attrs

from observatory.core.client_items import parse_position
from observatory.core.errors import UsageError, WorldError
from observatory.core.events import Position

LONGEST = 200  # bytes of a file that can be one


@attrs.frozen
class SavedPosition:
    """`epoch:seq` in a file of its own, replaced as a whole: whoever reads it finds the old position or the new one.

    It is not flushed to the disk: it survives any end of the process; after a power failure it may be an older one.
    """

    path: Path

    def load(self) -> Position | None:
        """The position; None if none was saved yet. Raises UsageError: the file holds something else. WorldError."""
        try:
            with self.path.open("rb") as file:
                text = file.read(LONGEST).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorldError(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            return parse_position(text)
        except UsageError:
            raise UsageError(f"{self.path} holds no position; delete it to begin anew") from None

    def save(self, position: Position) -> None:
        """Replace the position. Raises WorldError: it cannot be written."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(file, f"{position.epoch}:{position.seq}\n".encode())
            finally:
                os.close(file)
            beside.replace(self.path)
        except OSError as error:
            raise WorldError(f"{self.path} cannot be written: {error.strerror}") from None
