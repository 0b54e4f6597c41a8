"""The token file: the one secret that lets clients in, readable by its owner only."""

import os
import re
import secrets
import stat
from pathlib import Path

from observatory.core.errors import UsageError, WorldError

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")  # what a header, a cookie and a subprotocol can all carry
MAX_BYTES = 4096

Stamp = tuple[int, int, int]


class TokenFile:
    """The token in force, as the file has it now. Raises WorldError, UsageError, when made: the file is no good."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp, self._token = _read(path)

    def __repr__(self) -> str:
        return f"TokenFile({self._path})"

    def current(self) -> str:
        """The token; a file that was replaced counts at once, one that is gone or no good changes nothing."""
        try:
            if _stamp(os.stat(self._path)) != self._stamp:
                self._stamp, self._token = _read(self._path)
        except (OSError, WorldError, UsageError):
            pass
        return self._token


def ensure(path: Path) -> TokenFile:
    """The token file, made with a new token if there is none. Raises WorldError, UsageError."""
    if not path.exists():
        replace(path)
    return TokenFile(path)


def replace(path: Path) -> None:
    """Write a new token in the place of an old one, if any. Raises WorldError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        what = f"the token file {path} cannot be written ({error.strerror})"
        raise WorldError(what, "make its directory writable, or name another with --token-file") from None


def read(path: Path) -> str:
    """The token in a file. Raises WorldError: it cannot be read. UsageError: others can read it, or it is no token."""
    return _read(path)[1]


def _read(path: Path) -> tuple[Stamp, str]:
    try:
        with open(path, "rb") as file:
            found, data = os.fstat(file.fileno()), file.read(MAX_BYTES)
    except OSError as error:
        what = f"the token file {path} cannot be read ({error.strerror})"
        raise WorldError(what, "name another with --token-file") from None
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(f"the token file {path} can be read by other users; change that with: chmod 600 {path}")
    token = data.decode("ascii", errors="replace").strip()
    if TOKEN.fullmatch(token) is None:
        raise UsageError(f"{path} holds no token: one line of 16 to 512 letters, digits and . _ ~ + / = -")
    return _stamp(found), token


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns, found.st_size
