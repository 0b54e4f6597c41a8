"""`observatory doctor`: asks the server if one runs, has everything checked, and prints what was found."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import trio

from observatory import app
from observatory.cli import doctor_report as report
from observatory.cli.backup import stamp
from observatory.cli.place import local_server
from observatory.cli.status import ask
from observatory.config import Config, load, load_flags, origins
from observatory.core.check_host import ServerFacts
from observatory.core.errors import UsageError, WorldError
from observatory.core.exclude import excluder
from observatory.doctor import rebuild as rebuilding
from observatory.doctor.account import Totals, accounts
from observatory.doctor.checkup import Circumstances
from observatory.doctor.checkup import check as findings_of
from observatory.doctor.walk import transcripts
from observatory.storage.accounting import reading
from observatory.storage.opening import Running, boot_id, running

ANSWER_SECONDS = 3.0
PAUSE_SECONDS, PAUSES = 1.0, 5  # for a server that is between a line and its record


def check(flags: Mapping[str, Any], as_json: bool, *, deep: bool) -> bool:
    """Print every finding; returns whether nothing failed. Raises UsageError when it is the flags that are wrong."""
    config, error = _config(flags)
    server = running(config.data_dir)
    asked = None if server is None else trio.run(_asked, server, config.token_file)
    around = Circumstances(config, origins(flags), error, asked, app.FD_RESERVE, boot_id(), deep)
    found = findings_of(around)
    well = all(finding.level != "fail" for finding in found)
    if as_json:
        report.print_json({"ok": well, "findings": [attrs.asdict(finding) for finding in found]})
    else:
        report.Printer().findings(found)
    return well


def rebuild(flags: Mapping[str, Any]) -> None:
    """Make a new archive of what can be read of a damaged one, and say what came of it. Raises StoreError."""
    config = load(flags)
    made = rebuilding.rebuild(config.data_dir, f"damaged-{stamp()}", lambda what: click.echo(f"{what} …", err=True))
    for line in report.rebuilt(made):
        click.echo(line)


def account(flags: Mapping[str, Any], as_json: bool) -> bool:
    """Print what the archive does not account for; returns whether there is nothing. Raises StoreError, UsageError."""
    config = load(flags)
    served = running(config.data_dir) is not None
    totals, shown = Totals(), list[dict[str, Any]]()
    printer = report.Printer()
    with reading(config.data_dir) as archive:
        settle = Patience().settle if served else lambda: False
        for file in accounts(archive, transcripts(config.roots), settle, excluder(config.exclude)):
            totals.add(file)
            if as_json:
                shown.append(report.file_json(file))
            elif not file.clean:
                printer.file(file)
    if as_json:
        report.print_json(report.totals_json(totals, shown))
    else:
        printer.totals(totals, served=served)
    return totals.unclean == 0


@attrs.define
class Patience:
    """Gives a running server a moment, a few times; later files are just looked at again."""

    pauses: int = PAUSES

    def settle(self) -> bool:
        """Before a file is looked at again."""
        if self.pauses:
            self.pauses -= 1
            time.sleep(PAUSE_SECONDS)
        return True


def _config(flags: Mapping[str, Any]) -> tuple[Config, str | None]:
    """The settings in force, or those that are left with what is wrong with the others."""
    rest = load_flags(flags)
    try:
        return load(flags), None
    except UsageError as error:
        return rest, str(error)


async def _asked(server: Running, token_file: Path) -> ServerFacts:
    if server.url is None:
        return ServerFacts(server.pid, None, silence="it has not told where it listens")
    try:
        with trio.fail_after(ANSWER_SECONDS):
            status = await ask(local_server(server, token_file))
    except trio.TooSlowError:
        return ServerFacts(server.pid, server.url, silence=f"no answer in {ANSWER_SECONDS:.0f} s")
    except WorldError as error:
        return ServerFacts(server.pid, server.url, silence=error.message)
    sick = [(c["component_name"], str(c["details"])) for c in status["components"] if c["status"] != "ok"]
    return ServerFacts(server.pid, server.url, status["version"], status["uptime_seconds"], tuple(sick))
