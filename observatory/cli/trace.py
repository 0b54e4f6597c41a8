"""`observatory trace`: the merged latency windows of log files as a table."""

from collections.abc import Sequence

import click

from observatory.core.errors import UsageError
from observatory.telemetry.report import report, table


def run(files: Sequence[str]) -> None:
    """Print p50, p99, p99.9, max and count per hop and end to end. Raises UsageError when a file cannot be read."""
    try:
        merged = report(files)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
    click.echo(table(merged))
