"""Single keys from the terminal, without waiting for Enter; the terminal is as before when the block ends."""

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

ESCAPES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown", b"\x1bOA": "up",
           b"\x1bOB": "down", b"\x1b": "escape"}  # fmt: skip
NAMED = {b"\r": "enter", b"\n": "enter", b"\x03": "interrupt", b"\x04": "interrupt"}


@contextmanager
def single_keys(descriptor: int | None = None) -> Iterator[int]:
    """The terminal gives each key at once, and shows none."""
    number = sys.stdin.fileno() if descriptor is None else descriptor
    before: Any = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


async def next_keys(descriptor: int) -> list[str]:
    """The keys that were pressed, by name; none when the terminal is gone."""
    await trio.lowlevel.wait_readable(descriptor)
    return names_of(os.read(descriptor, 64))


def names_of(data: bytes) -> list[str]:
    """Bytes of a terminal as names of keys; what is unknown is left out."""
    if data in ESCAPES:
        return [ESCAPES[data]]
    found: list[str] = []
    while data:
        known = next((one for one in sorted(ESCAPES, key=len, reverse=True) if data.startswith(one)), None)
        if known is not None and len(known) > 1:
            found.append(ESCAPES[known])
            data = data[len(known) :]
            continue
        one, data = data[:1], data[1:]
        if one in NAMED:
            found.append(NAMED[one])
        elif one.isascii() and one.decode("ascii").isprintable():
            found.append(one.decode("ascii"))
    return found
