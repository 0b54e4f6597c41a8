"""Tables of figures: whole where there is room, short where there is not; harmless always."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from rich.cells import cell_len

from observatory.cli import stats_show
from observatory.cli.stats_table import compact, duration, fitted, fixed, money, number, text, write_table
from observatory.core.calendar import Calendar
from observatory.core.stats import tally
from observatory.core.stats_blocks import blocks
from observatory.core.stats_query import Query
from observatory.core.stats_report import Blocks, Groups, Report
from observatory.core.stats_shape import Labels
from tests.core.test_stats import TABLE, row

HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\r\n\u202eevil"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (999, "999"), (1000, "1.0k"), (9_949, "9.9k"), (9_951, "10k"), (999_499, "999k"), (999_500, "1.0M"),
        (2_241_344_700, "2.2B"), (9 * 10**15, "9000T"),
    ],
)  # fmt: skip
def test_a_number_is_two_or_three_digits_and_a_unit(value: int, shown: str) -> None:
    assert compact(value) == shown


def test_money_and_durations_are_in_the_unit_that_fits() -> None:
    assert [money(None), money(1234.567), money(0.0, partly=True)] == ["-", "$1,234.57", "$0.00+"]
    assert [duration(ms) for ms in (None, 0, 999, 1500, 90_000, 5_400_000)] == [
        "-", "0 ms", "999 ms", "1.5 s", "1.5 min", "1.5 h",
    ]  # fmt: skip


def test_where_it_is_narrow_numbers_are_short_and_then_texts_are_cut() -> None:
    columns = [
        text("BRANCH", ["feature/a-long-name", None]),
        text("PROJECT", ["計算機科学と情報", "x"]),
        number("CACHE READ", [123_456_789, None], "READ"),
        fixed("COST", ["$1.00", "-"]),
    ]
    assert fitted(columns, None)[2] == ["CACHE READ", "123,456,789", "-"]
    assert fitted(columns, 60)[2][1] == "123,456,789"
    assert fitted(columns, 52)[2] == ["READ", "123M", "-"]
    for width in range(27, 60):
        out = io.StringIO()
        write_table(columns, out, totals=True, width=width)
        assert all(cell_len(line) <= width for line in out.getvalue().splitlines()), width
    cut = fitted(columns, 40)
    assert cut[0][1].endswith("…")
    assert fitted(columns, 1)[0][1] == "featu…"  # a text keeps some letters, whatever happens


def report(group: Any, figures: Groups | Blocks, **more: Any) -> Report:
    labels = Labels({"p": HOSTILE}, {"c": ("p", HOSTILE)})
    now = datetime(2026, 3, 9, 13, tzinfo=UTC)
    return Report(Query(group), Calendar(UTC), "UTC", labels, now, figures, "prices 1", **more)


def shown(made: Report) -> list[str]:
    out = io.StringIO()
    stats_show.write(made, out, 120)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("group", ["project", "branch", "conversation", "model"])
def test_what_transcripts_say_commands_no_terminal(group: Any) -> None:
    key = ("main" + HOSTILE, "p") if group == "branch" else {"project": "p", "conversation": "c"}.get(group, HOSTILE)
    figures = tally([row(model=HOSTILE)], lambda _: key, TABLE)
    lines = shown(report(group, Groups(figures)))
    assert not any(control in line for line in lines for control in "\x1b\x07\r\u202e")
    assert any("no price: model " in line for line in lines)
    assert len(lines) >= 4


def test_more_reasons_than_three_are_counted() -> None:
    rows = [row(str(n), model=f"x{n}") for n in range(5)]
    lines = shown(report("model", Groups(tally(rows, lambda one: one.model or "", TABLE))))
    assert (
        "cost is without 5 messages that have no price: model x0 (1), model x1 (1), model x2 (1) and 2 more reasons"
        in lines
    )


def test_the_block_that_runs_says_where_it_will_end() -> None:
    rows = [row("a", at="2026-03-09T12:00:00.000Z", counts=(60, 0)), row("b", at="2026-03-09T02:00:00.000Z")]
    lines = shown(report("block", Blocks(blocks(rows, TABLE))))
    assert lines[1].startswith("2026-03-09 02:00  ")
    assert lines[2].startswith("2026-03-09 12:00 now")
    assert lines[3] == (
        "the block now ends at 2026-03-09 17:00, in 4.0 h, and with 300 tokens and $0.00 if it goes on so"
    )
    fresh = [row("a", at="2026-03-09T12:59:30.000Z"), row("u", at="2026-03-09T12:59:30.000Z", model="x")]
    begun = report("block", Blocks(blocks(fresh, TABLE)))
    assert "the block now ends at 2026-03-09 17:00, in 4.0 h" in shown(begun)
    unpriced = report("block", Blocks(blocks(fresh[1:], TABLE)))
    later = attrs.evolve(unpriced, now=unpriced.now + timedelta(minutes=1))
    assert any(line.endswith("tokens if it goes on so") for line in shown(later))
    over = attrs.evolve(begun, now=begun.now + timedelta(days=1))
    assert not any("block now" in line for line in shown(over))
