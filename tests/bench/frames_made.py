"""A seeded grammar of hostile inbound WebSocket messages, each with what the protocol allows as its answer.

It knows what it made: whether a reply is due and of which kinds, or with which codes the server may close.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import attrs

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL = 0x80
MAX_MESSAGE = 64 * 1024
CONFIRMED, STATUS, SNAPSHOT, PONGS = "subscription_confirmed", "subscription_status", "snapshot", "pong"
TOPICS = (
    "all_conversations",
    "project_updates",
    "file_events",
    "system",
    "conversation:a",
    "project:p",
    "file_events:p",
)
BAD_TOPICS: tuple[object, ...] = (
    *("", "*", "system ", "SYSTEM", "conversation:", "project:ü", "x" * 300, "file_events:\n", "machine:m"),
    *(7, None, True, 1.5, [], {}, ["system"]),
)
BAD_NUMBERS: tuple[object, ...] = (
    -1,
    2**53,
    2**63,
    2**64,
    1.5,
    1e308,
    "1",
    "",
    None,
    True,
    False,
    [],
    {},
    -(2**63),
    10**400,
)
BAD_EPOCHS: tuple[object, ...] = ("", "x", "x" * 33, 7, None, True, [], {}, "x" * 60_000)
WRONG: tuple[Any, ...] = (0, -1, 1.5, True, None, [], {}, "", [[]], {"a": []}, "x", 2**63, "\u2028", "😀", "\x00")
NO_JSON = (
    *(
        "",
        " ",
        "{",
        "}",
        "[",
        "NaN",
        "Infinity",
        "tru",
        "{'a':1}",
        '{"a":1,}',
        '{"type":"ping"}{"type":"ping"}',
        "\x00",
    ),
    *('{"type":"ping","data":{"timestamp":NaN}}', "// x", '"', "\ufeff{}", '{"type":"ping"', "1e", "-", '"\\ud800"'),
)
BAD_UTF8 = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x28\x8c\x28", b"\x80", b"\xc0\xaf", b'{"type":"\xfe"}')
ANY_REPLY = frozenset({"*"})  # one reply, whichever
MAYBE = frozenset({"*", ""})  # one reply or none


def error(*codes: str) -> frozenset[str]:
    """Answers that are errors."""
    return frozenset(f"error:{code}" for code in codes)


INVALID = error("INVALID_MESSAGE")


@attrs.frozen
class Inbound:
    """What is sent, and what may come of it.

    frames: WebSocket frames in it; answers: kinds of the one reply, "" for none; closes: codes with which the server
    must close, empty when it must not; 0 in it: it may also wait for more; -1: whatever it is, it may end anyhow.
    """

    kind: str
    data: bytes
    answers: frozenset[str] = frozenset({""})
    closes: frozenset[int] = frozenset()
    re: int | None = None
    frames: int = 1


@attrs.define
class Maker:
    """The same seed gives the same messages. epoch, head: of the log that is asked for."""

    seed: int
    epoch: str = "0e50e53ab860"
    head: int = 0
    _draw: random.Random = attrs.field(init=False)
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def message(self) -> Inbound:
        """The next one that must not end the connection."""
        return self._draw.choice(KINDS)(self)

    def closer(self) -> Inbound:
        """One that must, or that the server may wait at for ever."""
        return self._draw.choice(CLOSERS)(self)

    def marker(self) -> Inbound:
        """A good ping, by which it is known that all before it is answered."""
        return self._request("marker", "ping", {}, frozenset({PONGS}))

    def burst(self, sizes: range) -> int:
        """How many to send at once."""
        return self._draw.choice(sizes)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _request(self, name: str, kind: object, data: object, answers: frozenset[str]) -> Inbound:
        self._number += 1
        text = json.dumps({"type": kind, "id": self._number, "data": data})
        return Inbound(name, self._frame(text.encode()), answers, re=self._number)

    def _good(self) -> Inbound:
        draw = self._draw
        kind, data, answer = draw.choice([
            ("subscribe", {"topics": draw.sample(TOPICS, 2), "replace": draw.random() < 0.5}, CONFIRMED),
            ("subscribe", {"topics": [f"project:{draw.random()}"], "replace": True}, CONFIRMED),
            ("unsubscribe", draw.choice([{}, {"topics": [draw.choice(TOPICS)]}]), CONFIRMED),
            ("get_subscriptions", {}, STATUS), ("get_status", {}, "status"),
            ("get_snapshot", {"limit": draw.randint(1, 1000)}, SNAPSHOT),
            ("ping", {"timestamp": draw.choice(WRONG)}, PONGS), ("pong", {"received": 3}, ""),
        ])  # fmt: skip
        busy = error("RATE_LIMIT_EXCEEDED") if kind == "get_snapshot" else frozenset()  # one at a time
        return self._request("good", kind, data, frozenset({answer}) | busy)

    def _position(self) -> Inbound:
        draw = self._draw
        good: dict[str, object] = {"epoch": self.epoch, "seq": draw.randint(0, self.head)}
        wishes: list[tuple[str, dict[str, object], frozenset[str]]] = [
            ("resume", {}, frozenset({CONFIRMED})), ("future epoch", {"epoch": "zzzzzzzzzzzz"}, frozenset({CONFIRMED})),
            ("future seq", {"seq": draw.choice([self.head + 1, 2**53 - 1])}, frozenset({CONFIRMED})),
            ("max", {"max": draw.choice([0, 1, 2**53 - 1])}, frozenset({CONFIRMED})),
            ("forged epoch", {"epoch": draw.choice(BAD_EPOCHS)}, error("INVALID_POSITION")),
            ("forged seq", {"seq": draw.choice(BAD_NUMBERS)}, error("INVALID_POSITION", "INVALID_MESSAGE")),
            ("forged max", {"max": draw.choice([n for n in BAD_NUMBERS if n is not None])},
             error("INVALID_POSITION", "INVALID_MESSAGE")),
        ]  # fmt: skip
        name, forged, answers = draw.choice(wishes)
        if CONFIRMED in answers:
            answers |= error("POSITION_SET")
        wish = good | forged
        if draw.random() < 0.5:
            return self._request(name, "resume", wish, answers)
        return self._request(name, "subscribe", {"topics": ["system"], "replace": True, "resume": wish}, answers)

    def _topics(self) -> Inbound:
        draw = self._draw
        topics: object = draw.choice([
            [draw.choice(BAD_TOPICS)], ["system", draw.choice(BAD_TOPICS)], draw.choice([7, {}, "system", True]),
            ["conversation:" + "x" * draw.choice([201, 20_000])], [[["system"]]],
        ])  # fmt: skip
        return self._request("bad topics", "subscribe", {"topics": topics}, error("INVALID_TOPIC"))

    def _many_topics(self) -> Inbound:
        topics = [f"project:{number}" for number in range(self._draw.choice([129, 1000]))]
        return self._request("many topics", "subscribe", {"topics": topics}, error("TOO_MANY_SUBSCRIPTIONS"))

    def _bad_option(self) -> Inbound:
        draw = self._draw
        kind, data = draw.choice([
            ("get_snapshot", {"limit": draw.choice([0, 1001, *BAD_NUMBERS])}),
            ("subscribe", {"topics": [], "replace": draw.choice([0, 1, "x", [], {}])}),
            ("ping", draw.choice([0, 1, [], "x"])),
        ])  # fmt: skip
        return self._request("bad option", kind, data, INVALID)

    def _filter(self) -> Inbound:
        tree: Any = self._draw.choice(
            [{"key": "type", "cmp": "eq", "val": "x"}, *WRONG[:4], {"op": "and", "nodes": []}]
        )
        for _ in range(self._draw.randint(0, 12)):
            tree = {"op": "not", "node": tree} if self._draw.random() < 0.5 else {"op": "or", "nodes": [tree, tree][:1]}
        answers = error("INVALID_FILTERS", "INVALID_MESSAGE") | {CONFIRMED}
        return self._request("filter", "subscribe", {"topics": [], "where": tree}, answers)

    def _unknown(self) -> Inbound:
        kind = self._draw.choice(
            ["publish", "Subscribe", "x" * 30_000, "subscribe\x00", "connection_established", "🙂", " "]
        )
        return self._request("unknown type", kind, {}, error("UNKNOWN_MESSAGE_TYPE"))

    def _deep(self) -> Inbound:
        depth = self._draw.choice([33, 100, 1000, 20_000])
        left, right = self._draw.choice([("[", "]"), ('{"a":', "}")])
        text = '{"type":"ping","data":{"x":' + left * min(depth, 8000) + "1" + right * min(depth, 8000) + "}}"
        return Inbound("deep", self._frame(text.encode()), INVALID)

    def _no_json(self) -> Inbound:
        return Inbound("no JSON", self._frame(self._draw.choice(NO_JSON).encode()), INVALID)

    def _random_json(self) -> Inbound:
        value = self._value(4)
        if isinstance(value, dict):
            value.pop("type", None)
        return Inbound("random JSON", self._frame(json.dumps(value).encode()), INVALID)

    def _random_request(self) -> Inbound:
        kind = self._draw.choice(["subscribe", "unsubscribe", "resume", "get_snapshot", "ping", "auth"])
        data = {self._draw.choice(["topics", "resume", "where", "epoch", "seq", "max", "limit"]): self._value(3)}
        return self._request("random request", kind, data, ANY_REPLY)

    def _mutated(self) -> Inbound:
        """A good request with some characters changed, lost or doubled; what it is now nobody knows."""
        draw = self._draw
        good = [{"type": "subscribe", "data": {"topics": ["system"], "resume": {"epoch": self.epoch, "seq": 1}}},
                {"type": "get_snapshot", "id": "x", "data": {"limit": 5}}, {"type": "unsubscribe"}]  # fmt: skip
        text = list(json.dumps(draw.choice(good)))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text))
            text[at : at + 1] = draw.choice([[], [text[at]] * 2, [chr(draw.randrange(1, 0x2FF))], list('{}[]",:0')])
        return Inbound("mutated", self._frame("".join(text).encode()), MAYBE)

    def _value(self, depth: int) -> Any:
        draw = self._draw
        if depth and draw.random() < 0.5:
            inner = [self._value(depth - 1) for _ in range(draw.randint(0, 4))]
            return inner if draw.random() < 0.5 else {f"{draw.choice('abtid')}{n}": v for n, v in enumerate(inner)}
        return draw.choice(WRONG)

    # -- frames --------------------------------------------------------------------------------------------------------

    def _frame(self, payload: bytes, opcode: int = TEXT, first: int = FINAL) -> bytes:
        mask = self._draw.randbytes(4) if len(payload) < 200 else bytes(4)
        return head(opcode | first, len(payload)) + mask + xored(payload, mask)

    def _fragments(self) -> Inbound:
        """A good request in pieces, with control frames between them."""
        inner = self._request("fragments", "get_subscriptions", {}, frozenset({STATUS}))
        text = json.dumps({"type": "get_subscriptions", "id": inner.re}).encode()
        cuts = sorted(self._draw.sample(range(len(text)), self._draw.randint(1, 6)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        frames = [self._frame(piece, TEXT if n == 0 else 0, 0) for n, piece in enumerate(pieces[:-1])]
        frames = [frame + self._frame(b"", self._draw.choice([PING, PONG])) for frame in frames]
        return attrs.evolve(inner, data=b"".join(frames) + self._frame(pieces[-1], 0), frames=2 * len(pieces) - 1)

    def _control(self) -> Inbound:
        payload = self._draw.randbytes(self._draw.choice([0, 1, 125]))
        return Inbound("control", self._frame(payload, self._draw.choice([PING, PONG])))

    def _bad_utf8(self) -> Inbound:
        return Inbound("bad UTF-8", self._frame(self._draw.choice(BAD_UTF8)), closes=frozenset({1007}))

    def _binary(self) -> Inbound:
        return Inbound("binary", self._frame(self._draw.randbytes(9), BINARY), closes=frozenset({1003}))

    def _wrong_mask(self) -> Inbound:
        """A payload under another mask than it says: no text, or text that is no JSON."""
        data = head(TEXT | FINAL, 20) + self._draw.randbytes(24)
        return Inbound("wrong mask", data, MAYBE, frozenset({1007, 0}))

    def _violation(self) -> Inbound:
        frame, draw = self._frame, self._draw
        data = draw.choice([
            frame(b"x", TEXT, FINAL | draw.choice([0x40, 0x20, 0x10, 0x70])),
            frame(b"x", draw.choice([3, 4, 7, 11, 15])),
            b"\x81\x01x", b"\x89\x00", frame(b"x" * 126, PING), frame(b"x", PING, 0), frame(b"x", 0),
            frame(b"a", TEXT, 0) + frame(b"b", TEXT), frame(b"\x03", CLOSE), frame(b"\x03\xed", CLOSE),
            frame(b"\x03\xe8\xff", CLOSE), frame(b"\x00\x00", CLOSE), b"\x81\xff" + b"\xff" * 8 + bytes(4),
        ])  # fmt: skip
        return Inbound("violation", data, closes=frozenset({1002, 1007, 1009}))

    def _too_big(self) -> Inbound:
        text = self._draw.choice(["x" * (MAX_MESSAGE + 1), "é" * 40_000, "x" * 200_000]).encode()
        half = len(text) // 2 & ~1
        data = self._frame(text)
        if self._draw.random() < 0.5:
            data = self._frame(text[:half], TEXT, 0) + self._frame(text[half:], 0)
        return Inbound("too big", data, closes=frozenset({1009}))

    def _peer_closes(self) -> Inbound:
        code = self._draw.choice([1000, 1001, 3000, 4000, 4999])
        return Inbound("close", self._frame(code.to_bytes(2, "big") + b"bye", CLOSE), closes=frozenset({code}))

    def _unfinished(self) -> Inbound:
        data = self._draw.choice([
            b"\x81", b"\x81\xff", head(TEXT | FINAL, 2**40) + bytes(4) + b"x" * 900, self._frame(b"{", TEXT, 0),
            head(TEXT | FINAL, 100) + bytes(50),
        ])  # fmt: skip
        return Inbound("unfinished", data, closes=frozenset({0, 1009}))

    def _garbage(self) -> Inbound:
        return Inbound("garbage", self._draw.randbytes(self._draw.randint(1, 300)), MAYBE, frozenset({0, -1}))


def head(first: int, size: int) -> bytes:
    """The first bytes of a masked frame, without its mask."""
    if size < 126:
        return bytes((first, 0x80 | size))
    if size < 65536:
        return bytes((first, 0xFE)) + size.to_bytes(2, "big")
    return bytes((first, 0xFF)) + size.to_bytes(8, "big")


def xored(payload: bytes, mask: bytes) -> bytes:
    """A payload under its mask."""
    if not payload or not any(mask):
        return payload
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


KINDS: tuple[Callable[[Maker], Inbound], ...] = (
    *[Maker._good] * 4, *[Maker._position] * 3, *[Maker._mutated] * 4, *[Maker._random_request] * 2, Maker._topics,
    Maker._many_topics, Maker._bad_option, Maker._filter, Maker._unknown, Maker._deep, Maker._no_json,
    Maker._random_json, Maker._fragments, Maker._control,
)  # fmt: skip
CLOSERS: tuple[Callable[[Maker], Inbound], ...] = (
    Maker._bad_utf8, Maker._binary, Maker._wrong_mask, *[Maker._violation] * 4, Maker._too_big, Maker._peer_closes,
    Maker._unfinished, Maker._garbage,
)  # fmt: skip
