"""`observatory tail --bell`: it rings for what is worth a notice, and for nothing else."""

import io
from typing import Any

import pytest

from observatory.cli.tail import JsonLines, Ringing
from observatory.core.client_items import Event, Snapshot
from observatory.core.events import Position


def event(type_: str, data: Any) -> Event:
    return Event(type_, data, 1, "epoch", 1_795_381_200_000, "{}")


def ringing() -> tuple[Ringing, io.StringIO]:
    out = io.StringIO()
    bell = Ringing(JsonLines(out), out)
    bell.learn(Snapshot((), ({"id": "c1", "activity": "waiting"},), False, Position("epoch", 1)))
    return bell, out


@pytest.mark.parametrize(
    ("type_", "data", "rings"),
    [
        ("conversation_update", {"id": "c2", "activity": "waiting"}, True),
        ("conversation_update", {"id": "c2", "activity": "idle"}, True),
        ("conversation_update", {"id": "c2", "status": "error"}, True),
        ("message_added", {"record": {"kind": "error"}}, True),
        ("conversation_update", {"id": "c1", "activity": "waiting"}, False),
        ("conversation_update", {"id": "c2", "activity": "working"}, False),
        ("conversation_update", {"id": "c2.agent", "activity": "waiting"}, False),
        ("conversation_update", {"id": "c2", "title": "x"}, False),
        ("message_added", {"record": {"kind": "prompt"}}, False),
        ("message_added", {"record": None}, False),
        ("custom", "text", False),
    ],
)
def test_it_rings_for_what_is_worth_it(type_: str, data: Any, rings: bool) -> None:
    bell, out = ringing()
    assert bell.print(event(type_, data))
    assert out.getvalue() == ("{}\n\a" if rings else "{}\n")


def test_it_rings_once_until_something_else_happens() -> None:
    bell, out = ringing()
    for activity in ("working", "waiting", "waiting", "working", "waiting"):
        bell.print(event("conversation_update", {"id": "c1", "activity": activity}))
    assert out.getvalue().count("\a") == 2
