"""What `observatory doctor` shows: one line a finding, its cure below it; and the account's table."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import click
import orjson
from rich.console import Console
from rich.text import Text

from observatory.core.accounting import CLASSES, TROUBLES
from observatory.core.finding import Finding, number, size
from observatory.core.neutral import neutral
from observatory.doctor.account import FileAccount, Totals
from observatory.doctor.rebuild import Rebuilt

STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}
LEVEL_WIDTH, WHAT_WIDTH = 6, 10
INDENT = " " * (LEVEL_WIDTH + WHAT_WIDTH)
NARROWEST = 60  # a terminal below is not wrapped for
NAMES = {
    "record": "records", "redacted": "redacted records", "forgotten": "forgotten lines", "pruned": "pruned",
    "error": "lines kept as errors", "oversize": "lines beyond the cap", "newline": "newlines",
    "blank": "blanks", "cr": "CR", "nul": "NUL", "bom": "BOM", "torn": "torn tails", "changed": "changed",
    "unaccounted": "unaccounted for", "not read": "not read",
}  # fmt: skip
MEANINGS = {
    "changed": "differs from what was read",
    "unaccounted": "was passed over without a record",
    "overlap": "is held by two records",
    "not read": "has not been read yet",
}
CURES = {
    "changed": "the file was edited after it was read: the archive keeps what was there first",
    "unaccounted": "a defect of ours or a damaged archive: run observatory doctor --deep, and please report it",
    "overlap": "a defect of ours or a damaged archive: run observatory doctor --deep, and please report it",
    "not read": "start a server: it reads on where the archive ends",
    "never read": "start a server with this root: it reads what it does not know",
    "unreadable": "give this user the right to read it",
}
BEHIND = "the server is behind: see observatory status, and ask again in a moment"


class Printer:
    """Writes to standard output: colour on a terminal (rich decides), wrapped to its width; whole lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        width = self._console.width
        self._width = width if self._console.is_terminal and width >= NARROWEST else None
        self._told: set[str] = set()  # kinds of trouble in the account

    def findings(self, found: Sequence[Finding]) -> None:
        """All of them, and how many are problems."""
        for finding in found:
            for line in finding_lines(finding, self._width):
                self._line(finding.level, line)
        self._say("")
        self._say(summary(found))

    def file(self, file: FileAccount) -> None:
        """A file that is not accounted for."""
        self._told |= {file.state} - {"compared"}
        self._line("fail", f"{'fail':<{LEVEL_WIDTH}}{neutral(file.path)}{_why(file)}")
        if file.account is not None:
            self._told |= {found.what for found in file.account.findings}
            for found in file.account.findings:
                place = f"{number(found.length, 'byte')} from {found.offset:,}"
                self._say(f"{'':<{LEVEL_WIDTH}}{place:<28} {MEANINGS[found.what]}")
            if (more := file.account.count - len(file.account.findings)) > 0:
                self._say(f"{'':<{LEVEL_WIDTH}}and {more:,} more like these")

    def totals(self, totals: Totals, *, served: bool) -> None:
        """The table of bytes, what to do about each kind of trouble, and the verdict."""
        for kind in sorted(self._told):
            waits = served and kind in ("not read", "never read")
            self._say(f"{'':<{LEVEL_WIDTH}}cure for “{kind}”: {BEHIND if waits else CURES[kind]}")
        if self._told:
            self._say("")
        for line in table(totals):
            self._say(line)
        self._say("")
        self._line("fail" if totals.unclean else "ok", verdict(totals))

    def _line(self, level: str, line: str) -> None:
        text = Text(line)
        if line.startswith(level):
            text.stylize(STYLES[level], 0, len(level))
        self._console.print(text, soft_wrap=True)

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def finding_lines(finding: Finding, width: int | None) -> Iterator[str]:
    """A finding, its cure, and the commands, which are never wrapped: they are to be copied."""
    head = f"{finding.level:<{LEVEL_WIDTH}}{finding.what:<{WHAT_WIDTH}}"
    yield from _wrapped(head, neutral(finding.finding), width)
    if finding.cure:
        yield from _wrapped(INDENT, f"cure: {neutral(finding.cure)}", width)
    for command in finding.commands:
        yield f"{INDENT}  {neutral(command)}"


def _wrapped(head: str, text: str, width: int | None) -> list[str]:
    if width is None:
        return [head + text]
    lines = textwrap.wrap(text, width - len(INDENT), break_long_words=False, break_on_hyphens=False)
    return [(INDENT if number else head) + line for number, line in enumerate(lines or [""])]


def summary(found: Sequence[Finding]) -> str:
    """One line for all."""
    fails, warns = (sum(finding.level == level for finding in found) for level in ("fail", "warn"))
    if not fails and not warns:
        return "all is well"
    parts = [number(fails, "problem")] * bool(fails) + [number(warns, "warning")] * bool(warns)
    return " and ".join(parts)


def table(totals: Totals) -> Iterator[str]:
    """Bytes by class, those that occur; they add up."""
    rows = [(NAMES[key], totals.bytes[key]) for key in (*CLASSES, *TROUBLES) if totals.bytes[key]]
    rows.append(("all", totals.size))
    wide = max(len(name) for name, _ in rows)
    digits = max(len(f"{count:,}") for _, count in rows)
    for name, count in rows:
        share = f"{100 * count / totals.size:6.2f} %" if totals.size else ""
        yield f"{name:<{wide}}  {count:>{digits},} bytes  {share}".rstrip()


def verdict(totals: Totals) -> str:
    """The result in one line."""
    compared, gone = totals.files["compared"], totals.files["gone"]
    kept = f", {number(gone, 'file')} gone from the disk and kept" if gone else ""
    kept += f", {number(out, 'file')} kept out" if (out := totals.files["kept out"]) else ""
    if totals.unclean:
        every = sum(totals.files.values())
        return f"fail  {totals.unclean:,} of {number(every, 'file')} not accounted for{kept}"
    records, whole = number(totals.records, "record"), size(totals.size)
    return f"ok    every byte of {number(compared, 'file')} is accounted for: {whole}, {records}{kept}"


def _why(file: FileAccount) -> str:
    if file.state == "never read":
        return " was never read"
    return f" cannot be read: {neutral(file.reason)}" if file.reason is not None else ""


def file_json(file: FileAccount) -> dict[str, Any]:
    """One file of the account."""
    return {"clean": file.clean, **attrs.asdict(file)}


def totals_json(totals: Totals, files: list[dict[str, Any]]) -> dict[str, Any]:
    """The account. Counts by state and class; `bytes` add up to `size`."""
    return {
        "ok": totals.unclean == 0, "files": dict(totals.files), "unclean": totals.unclean, "size": totals.size,
        "records": totals.records, "bytes": dict(totals.bytes), "accounts": files,
    }  # fmt: skip


def print_json(value: dict[str, Any]) -> None:
    """Paths may hold bytes that are no UTF-8: they are shown as replacement characters."""
    click.echo(orjson.dumps(_valid(value), option=orjson.OPT_INDENT_2).decode())


def _valid(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    return [_valid(item) for item in value] if isinstance(value, list | tuple) else value


def rebuilt(made: Rebuilt) -> Iterator[str]:
    """What a rebuild has saved, and what it has not, for a person."""
    saved = made.saved
    records, conversations = saved.rows.get("records", 0) - saved.bad_records, saved.rows.get("conversations", 0)
    yield f"saved {number(records, 'record')} and {number(conversations, 'conversation')}"
    if saved.damaged:
        yield f"could not be read in part: {', '.join(sorted(saved.damaged))}"
    if saved.bad_blocks or saved.bad_records:
        yield f"damaged bodies: {number(saved.bad_records, 'record')} in {number(saved.bad_blocks, 'block')}"
    if made.again:
        yield f"{number(len(made.again), 'transcript')} will be read anew at the next start"
    for path in made.lost:
        yield f"lost in part, and its transcript is gone: {neutral(path)}"
    yield f"the damaged archive is now {made.aside}; delete it when nothing is missing"
