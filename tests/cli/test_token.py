"""A server with a token, as users of the command meet it: found, let in, linked, rotated, and over TLS."""

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from observatory.client.connection import connect
from observatory.client.trust import Trust
from observatory.core.client_items import Closed, Refused
from observatory.storage.token import read
from tests.certificates import certificates
from tests.cli.test_main import environ, ran, started
from tests.traces import holding

__all__ = ["environ"]


@contextmanager
def guarded(environ: dict[str, str], *options: str) -> Iterator[str]:
    """A server with --auth token; its URL."""
    with started(environ, "serve", "--port", "0", "--auth", "token", *options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "ready at ws" in line, process.stderr and process.stderr.read()
        while "clients need the token in" not in process.stdout.readline():
            pass
        yield line.split()[4]


def test_the_own_commands_are_let_in_and_others_are_not(environ: dict[str, str], tmp_path: Path) -> None:
    with guarded(environ) as url:
        token_file = tmp_path / "data" / "token"
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        for command in (["status"], ["ls"], ["tail", "--help"], ["doctor"]):
            code, out, err = ran(environ, *command)
            assert (code, err) in ((0, []), (0, ["observatory: no projects yet: they appear as soon as Claude Code has"
                                                 " written a transcript"])), (command, out, err)  # fmt: skip
        assert ran(environ, "token")[:2] == (0, f"{token_file}\n")
        code, _, err = ran(environ, "status", "--url", url)  # a server that was named is not given our token unasked
        assert code == 1
        assert len(err) == 1
        assert "it may want a token: see --token-file" in err[0]
        assert ran(environ, "status", "--url", url, "--token-file", str(token_file))[0] == 0
        assert ran({**environ, "OBSERVATORY_TOKEN_FILE": str(token_file)}, "status", "--url", url)[0] == 0
        assert not leaks(tmp_path, read(token_file))


def leaks(directory: Path, token: str) -> list[Path]:
    """Files besides the token's own that hold it."""
    return [path for path in holding(directory, token.encode()) if path.name != "token"]


def test_neither_token_nor_code_is_in_what_the_server_says(environ: dict[str, str], tmp_path: Path) -> None:
    options = ("serve", "--port", "0", "--auth", "token", "--log-format", "json")
    with started(environ, *options) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = said.split()[4]
        token = read(tmp_path / "data" / "token")
        link = ran(environ, "token", "--link")[1].strip()
        assert urllib.request.urlopen(link).status == 200
        code, _, err = ran(environ, "status", "--url", f"{url}?token={token}")
        assert code == 1
        assert token not in "".join(err)
        assert ran(environ, "status")[0] == 0
        process.terminate()
        out, log = process.communicate(timeout=30)
    assert token not in said + out + log
    assert link.rpartition("/")[2] not in said + out + log
    assert "client.closed" in log


def test_a_link_is_opened_once(environ: dict[str, str]) -> None:
    with guarded(environ) as url:
        code, out, err = ran(environ, "token", "--link")
        link = out.strip()
        assert code == 0
        assert link.startswith(url.replace("ws://", "http://").removesuffix("ws") + "login/")
        assert err == ["observatory: open it in a browser, once, within 60 seconds"]
        with urllib.request.urlopen(link) as page:
            cookie = page.headers["Set-Cookie"].partition(";")[0]
            assert b"This browser may now connect" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(link).close()
        trio.run(visit, url, ("Cookie", cookie))


async def visit(url: str, *headers: tuple[str, str]) -> None:
    async with connect(url, headers=headers):
        pass


def test_a_new_token_closes_who_came_with_the_old_one(environ: dict[str, str], tmp_path: Path) -> None:
    async def stay_until_rotated(url: str, token: str) -> int:
        async with connect(url, token=token) as connection:
            code, out, _ = await trio.to_thread.run_sync(ran, environ, "token", "--rotate")
            assert (code, out) == (0, f"a new token is in {tmp_path / 'data' / 'token'}\n")
            with pytest.raises(Closed) as closed:
                await connection.receive()
        with pytest.raises(Refused):
            await visit(url, ("Authorization", f"Bearer {token}"))
        return closed.value.code

    with guarded(environ) as url:
        assert trio.run(stay_until_rotated, url, read(tmp_path / "data" / "token")) == 4500
        assert ran(environ, "status")[0] == 0


def test_a_token_may_be_replaced_while_no_server_runs_but_there_is_no_link_then(environ: dict[str, str]) -> None:
    (Path(environ["OBSERVATORY_DATA_DIR"])).mkdir()
    assert ran(environ, "token", "--rotate")[0] == 0
    code, _, err = ran(environ, "token", "--link")
    assert (code, len(err)) == (1, 1)
    assert "no server runs on" in err[0]


def test_where_there_is_no_token_it_says_so(environ: dict[str, str]) -> None:
    code, _, err = ran(environ, "token")
    assert (code, len(err)) == (1, 1)
    assert "cannot be read" in err[0]


def test_all_addresses_may_be_served_with_a_token_and_over_tls(environ: dict[str, str], tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    tls = ("--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    with guarded(environ, "--host", "0.0.0.0", *tls) as url:
        assert url.startswith("wss://127.0.0.1:")
        assert ran(environ, "status")[0] == 0  # knows the certificate by its file
        there = ("--url", url.replace("127.0.0.1", "localhost"), "--token-file", f"{tmp_path}/data/token")
        code, _, err = ran(environ, "status", *there)
        assert (code, len(err)) == (1, 1)
        assert "is not trusted" in err[0]
        assert ran(environ, "status", *there, "--ca-file", str(made.authority))[0] == 0
        assert ran(environ, "token", "--link")[1].startswith("https://127.0.0.1:")
        assert Trust().authority is None


MISTAKES = [
    (["serve", "--host", "0.0.0.0"], 2, "add --auth token"),
    (["serve", "--trusted-proxy", "10.0.0.1"], 2, "add --auth token"),
    (["serve", "--tls-key", "/k.pem"], 2, "name that with --tls-cert"),
    (["serve", "--tls-cert", "/absent.pem"], 1, "/absent.pem cannot be read"),
    (["serve", "--auth", "token", "--token-file", "/absent/token"], 1, "cannot be written"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES)
def test_a_mistake_is_one_line(environ: dict[str, str], arguments: list[str], code: int, text: str) -> None:
    got, _, err = ran(environ, *arguments)
    assert (got, len(err)) == (code, 1), err
    assert text in err[0]


def test_a_token_file_that_others_can_read_stops_the_server(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("0123456789abcdef\n")
    os.chmod(file, 0o644)
    code, _, err = ran(environ, "serve", "--auth", "token", "--token-file", str(file))
    assert (code, err) == (2, [f"observatory: the token file {file} can be read by other users; change that with:"
                               f" chmod 600 {file}"])  # fmt: skip
