"""Which server a command means, and what it takes to be let in: the URL, the token, the certificate."""

from pathlib import Path

import attrs

from observatory.client.connection import Server
from observatory.client.trust import Trust
from observatory.config import TOKEN, default_data_dir, default_token_file
from observatory.core.errors import Unreachable
from observatory.storage.opening import Running, running
from observatory.storage.token import read


@attrs.frozen
class Where:
    """What the command line said; None is what was not given."""

    url: str | None = None
    data_dir: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None

    def directory(self) -> Path:
        """The data directory of the server. Raises UsageError."""
        return (self.data_dir or default_data_dir()).absolute()

    def token_path(self) -> Path:
        """Where the token of the data directory's server is. Raises UsageError."""
        return self.token_file or default_token_file() or self.directory() / TOKEN

    def find(self) -> Server | None:
        """The server that was named, or the one that runs on the data directory, if one does. Raises UsageError.

        A server that was named by its URL gets a token only from a file that was named too: ours is not for others.
        """
        if self.url is not None:
            named = self.token_file or default_token_file()
            return Server(self.url, None if named is None else read(named), Trust(self.ca_file))
        found = running(self.directory())
        return None if found is None or found.url is None else local_server(found, self.token_path(), self.ca_file)

    def server(self) -> Server:
        """As `find`. Raises Unreachable if there is none."""
        found = self.find()
        if found is None:
            raise Unreachable(f"no server runs on {self.directory()}", "start one with: observatory serve")
        return found


def local_server(found: Running, token_file: Path, ca_file: Path | None = None) -> Server:
    """The server of a data directory. Whoever may read that may have its token, and knows its certificate."""
    token = read(token_file) if token_file.exists() else None
    exactly = None if found.certificate is None or ca_file is not None else Path(found.certificate)
    return Server(found.url or "", token, Trust(ca_file, exactly))
