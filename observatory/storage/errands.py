"""Errands: what a command asks of the server that writes the data directory, by a file in it.

Whoever may write the directory could delete it as well, so nothing more has to be checked; and an errand that a crash
interrupts is still there at the next start, where it is done again. forget.request: asked for; forget.taken: the server
is at it; forget.result: done.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import orjson

from observatory.core.forgetting import Target

REQUEST, TAKEN, RESULT = "forget.request", "forget.taken", "forget.result"


@attrs.frozen
class Errand:
    """A target to forget; `id` tells the answer to it from others."""

    id: str
    target: Target


def ask(directory: Path, target: Target) -> Errand:
    """Leave a request for the server. Raises OSError; FileExistsError while another one waits."""
    errand = Errand(secrets.token_hex(8), target)
    if (directory / REQUEST).exists():
        raise FileExistsError
    _write(directory / REQUEST, attrs.asdict(errand))
    return errand


def withdraw(directory: Path) -> bool:
    """Take a request back, if the server has not taken it."""
    try:
        (directory / REQUEST).unlink()
    except FileNotFoundError:
        return False
    return True


def answer(directory: Path, errand: Errand) -> dict[str, Any] | None:
    """The server's answer, which is taken away; None as long as there is none."""
    try:
        found: dict[str, Any] = orjson.loads((directory / RESULT).read_bytes())
    except FileNotFoundError:
        return None
    if found.get("id") != errand.id:
        return None
    (directory / RESULT).unlink()
    return found


def is_open(directory: Path) -> bool:
    """Whether something is asked for, or being done."""
    return any((directory / name).exists() for name in (REQUEST, TAKEN))


def take(directory: Path) -> Errand | None:
    """The server's side: what is asked for, or was when the last server ended. What is no errand is put away.

    A directory that cannot be written now holds nobody's errand up for good: it is looked at again and again.
    """
    for name in (TAKEN, REQUEST):
        path = directory / name
        try:
            errand = _errand(path.read_bytes())
            if errand is None:
                path.unlink()
                continue
            path.replace(directory / TAKEN)
        except OSError:
            continue
        return errand
    return None


def _errand(data: bytes) -> Errand | None:
    try:
        found = orjson.loads(data)
        errand = Errand(str(found["id"]), Target(**found["target"]))
    except (ValueError, TypeError, KeyError):
        return None
    return errand if errand.target.kind in ("conversation", "project") else None


def finish(directory: Path, errand: Errand, result: dict[str, Any]) -> None:
    """The server's side: it is done, or failed with `error`. On a full disk there is no answer; the log has it."""
    with suppress(OSError):
        _write(directory / RESULT, {"id": errand.id, **result})
    with suppress(OSError):
        (directory / TAKEN).unlink()


def _write(path: Path, value: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(orjson.dumps(value))
    new.replace(path)
