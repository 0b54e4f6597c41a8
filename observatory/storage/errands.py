"""Errands: what a command asks of the server that writes the data directory, by a file in it.

Whoever may write the directory could delete it as well, so nothing more has to be checked; and an errand that a crash
interrupts is still there at the next start, where it is done again. NAME.request: asked for; NAME.taken: the server is
at it, and tells in it how far it is; NAME.result: done.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import orjson

from observatory.core.annotations import Change
from observatory.core.forgetting import Target
from observatory.core.pruning import Prune

W = TypeVar("W")
TOLD = "progress"  # its key in what was taken


@attrs.frozen
class Errand(Generic[W]):
    """What is wished for; `id` tells the answer to it from others."""

    id: str
    wish: W


@attrs.frozen
class Desk(Generic[W]):
    """Where errands of one kind are left. key: of the wish in the file; read: the wish of its JSON value, which raises
    ValueError, TypeError or KeyError for what is none."""

    name: str
    key: str
    read: Callable[[Any], W]

    @property
    def request(self) -> str:
        """The file of what is asked for."""
        return f"{self.name}.request"

    @property
    def taken(self) -> str:
        """The file of what the server is at."""
        return f"{self.name}.taken"

    @property
    def result(self) -> str:
        """The file of the answer."""
        return f"{self.name}.result"

    # -- the command's side --------------------------------------------------------------------------------------------

    def ask(self, directory: Path, wish: W) -> Errand[W]:
        """Leave a request for the server. Raises OSError; FileExistsError while another one waits."""
        errand = Errand(secrets.token_hex(8), wish)
        if (directory / self.request).exists():
            raise FileExistsError
        _write(directory / self.request, self._value(errand))
        return errand

    def withdraw(self, directory: Path) -> bool:
        """Take a request back, if the server has not taken it."""
        try:
            (directory / self.request).unlink()
        except FileNotFoundError:
            return False
        return True

    def abandon(self, directory: Path, errand: Errand[W]) -> None:
        """Take it away, asked for or taken: the server that had it has ended, and it is done without one."""
        for name in (self.request, self.taken):
            found = _read(directory / name)
            if found is not None and found.get("id") == errand.id:
                (directory / name).unlink(missing_ok=True)

    def answer(self, directory: Path, errand: Errand[W]) -> dict[str, Any] | None:
        """The server's answer, which is taken away; None as long as there is none."""
        found = _read(directory / self.result)
        if found is None or found.get("id") != errand.id:
            return None
        (directory / self.result).unlink()
        return found

    def is_open(self, directory: Path) -> bool:
        """Whether something is asked for, or being done."""
        return any((directory / name).exists() for name in (self.request, self.taken))

    def told(self, directory: Path) -> Any | None:  # noqa: ANN401 - JSON
        """How far the server is with what it is at, if it is at something and has told."""
        found = _read(directory / self.taken)
        return None if found is None else found.get(TOLD)

    # -- the server's side ---------------------------------------------------------------------------------------------

    def take(self, directory: Path) -> Errand[W] | None:
        """What is asked for, or was when the last server ended. What is no errand is put away.

        A directory that cannot be written now holds nobody's errand up for good: it is looked at again and again.
        """
        for name in (self.taken, self.request):
            path = directory / name
            try:
                errand = self._errand(path.read_bytes())
                if errand is None:
                    path.unlink()
                    continue
                path.replace(directory / self.taken)
            except OSError:
                continue
            return errand
        return None

    def tell(self, directory: Path, errand: Errand[W], progress: dict[str, Any]) -> None:
        """It is as far as this. On a full disk nobody hears of it."""
        with suppress(OSError):
            _write(directory / self.taken, self._value(errand) | {TOLD: progress})

    def finish(self, directory: Path, errand: Errand[W], result: dict[str, Any]) -> None:
        """It is done, or failed with `error`. On a full disk there is no answer; the log has it."""
        with suppress(OSError):
            _write(directory / self.result, {"id": errand.id, **result})
        with suppress(OSError):
            (directory / self.taken).unlink()

    def _value(self, errand: Errand[W]) -> dict[str, Any]:
        return {"id": errand.id, self.key: errand.wish}

    def _errand(self, data: bytes) -> Errand[W] | None:
        try:
            found = orjson.loads(data)
            return Errand(str(found["id"]), self.read(found[self.key]))
        except (ValueError, TypeError, KeyError):
            return None


def _target(value: Any) -> Target:  # noqa: ANN401 - JSON
    target = Target(**value)
    if target.kind not in ("conversation", "project"):
        raise ValueError(target.kind)
    return target


def _roots(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    if not isinstance(value, list) or not all(isinstance(root, str) and os.path.isabs(root) for root in value):
        raise ValueError(value)
    return tuple(value)


def _change(value: Any) -> Change:  # noqa: ANN401 - JSON
    made = Change(**value)
    texts = (made.conversation_id, *made.add, *made.remove, made.note or "")
    if not isinstance(made.starred, bool | None) or not all(isinstance(text, str) for text in texts):
        raise ValueError(value)
    return attrs.evolve(made, add=tuple(made.add), remove=tuple(made.remove))


def _prune(value: Any) -> Prune:  # noqa: ANN401 - JSON
    made = Prune(**value)
    if (
        not isinstance(made.before, str)
        or not isinstance(made.project, str | None)
        or not isinstance(made.marked, bool)
    ):
        raise ValueError(value)
    return made


FORGET = Desk("forget", "target", _target)
IMPORT = Desk("import", "roots", _roots)
PRUNE = Desk("prune", "prune", _prune)
ANNOTATE = Desk("tag", "change", _change)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = orjson.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(orjson.dumps(value, default=attrs.asdict))
    new.replace(path)
