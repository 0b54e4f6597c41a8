"""A seeded grammar of hostile transcript lines: whatever disks, crashes, other programs and future versions write.

The grammar knows what each line holds, because it put it there: how many records, and how many rows of error.
"""

import json
import random
from collections.abc import Callable
from uuid import UUID

import attrs

STARTS = ("parentUuid", "type", "cwd", "isSidechain")  # what a record can begin with so that it is found in a torn line
RAW = ("\u2028", "\u2029", "\x85", "\xa0", "\ufeff", "\u200b", "😀", "ü")  # legal inside a JSON string as they are
CONTROLS = ("\x0b", "\x0c", "\r", "\x1b", "\x01", "\x7f")
WRONG: tuple[object, ...] = (0, -1, 1.5, True, None, [], {}, "", [[]], {"a": []}, "x", 2**63, [None, "x", {"type": 1}])
BAD_UTF8 = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\x80\x80", b"\xc0\xaf")
NUMBERS = ("1e999", "-1e999", "1" * 40, "-" + "9" * 400, "0.1e-400", "NaN", "Infinity", "-Infinity", "1E308", "-0.0")
NOT_OBJECTS = (b"[1,2]", b"42", b'"text"', b"null", b"true", b"[]", b'["{\\"type\\":1}"]', b"NaN")
NO_JSON = (
    b"{",
    b"}",
    b'  "key": 1,',
    b"// comment",
    b"{]",
    b'{"a"',
    b"{'a': 1}",
    b'{"a":1,}',
    b"\xff\xfe",
    b"tru",
    b"]",
)
BLANKS = (b"", b" ", b"\t \r", b"\r", b"\0", b"\0\0\0", b"\0" * 4096, b"\0 \0")
LINE_CAP = 400 * 1024  # the reader's, lowered for this
LONG_SHARE = 0.0002  # of lines that are read in several turns
TOO_LONG_NUMBER = 5000  # digits; Python refuses more than 4,300


@attrs.frozen
class Hostile:
    """A line, without its newline. records, errors: what it holds; None: at least one row, whichever."""

    kind: str
    data: bytes
    records: int | None
    errors: int | None


@attrs.define
class Grammar:
    """The same seed gives the same lines. Long lines stay below LINE_CAP, oversize ones do not."""

    seed: int
    _draw: random.Random = attrs.field(init=False)
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def line(self) -> Hostile:
        """The next one."""
        if self._draw.random() < LONG_SHARE:
            return self._long()
        return self._draw.choice(KINDS)(self)

    def whole(self, mark: str = "") -> bytes:
        """A well-formed record."""
        return _dump(self._record(mark or self._text()))

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _uuid(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))

    def _text(self) -> str:
        self._number += 1
        return f"line {self._number} " + "word " * self._draw.randrange(12)

    def _record(self, text: str) -> dict[str, object]:
        """A tree record that begins like Claude Code's. Nothing in it could pass for a record of its own."""
        first: dict[str, object] = {self._draw.choice(STARTS[:1] * 20 + STARTS): None}
        who = self._draw.choice(("user", "assistant"))
        message: dict[str, object] = {"role": who, "content": text}
        if who == "assistant":
            message["content"] = [{"type": "text", "text": text}]
            message |= {"id": f"msg_{self._draw.getrandbits(64):x}", "model": "m", "usage": {"output_tokens": 7}}
        rest = {"parentUuid": None, "isSidechain": False, "cwd": "/w", "sessionId": "s", "type": who}
        stamp = f"2026-11-2{self._draw.randrange(10)}T20:00:00.{self._draw.randrange(1000):03}Z"
        return first | rest | {"message": message, "uuid": self._uuid(), "timestamp": stamp}

    def _with(self, text: str) -> dict[str, object]:
        return self._record(f"{self._text()}{text}")

    # -- kinds ---------------------------------------------------------------------------------------------------------

    def good(self) -> Hostile:
        """Nothing wrong."""
        return Hostile("good", self.whole(), 1, 0)

    def glued(self) -> Hostile:
        """Records without a newline between them."""
        count = self._draw.randrange(2, 5)
        between = self._draw.choice((b"", b" ", b"\0\0", b"\r"))
        return Hostile("glued", between.join(self.whole() for _ in range(count)), count, 0)

    def spliced(self) -> Hostile:
        """A write that was cut, and the next record on its line."""
        torn = self.whole()
        return Hostile("spliced", torn[: self._draw.randrange(1, len(torn))] + self.whole(), 1, 1)

    def torn(self) -> Hostile:
        """A write that was cut, and a newline."""
        text = self.whole()
        return Hostile("torn", text[: self._draw.randrange(1, len(text))], 0, 1)

    def nuls(self) -> Hostile:
        """What a power loss leaves around a record."""
        before, after = (b"\0" * self._draw.choice((0, 1, 7, 512)) for _ in "ab")
        return Hostile("nuls", (before or b"\0") + self.whole() + after, 1, 0)

    def nul_inside(self) -> Hostile:
        """A run of NULs where a piece of the record was."""
        text = self.whole()
        at = self._draw.randrange(1, len(text))
        return Hostile("nul inside", text[:at] + b"\0" * self._draw.randrange(1, 64) + text[at:], None, None)

    def bad_utf8(self) -> Hostile:
        """Bytes that are no UTF-8, inside a string."""
        return Hostile("bad utf-8", _dump(self._with("@@@")).replace(b"@@@", self._draw.choice(BAD_UTF8)), 1, 0)

    def surrogate(self) -> Hostile:
        """Half of a surrogate pair, escaped."""
        half = self._draw.choice((b"\\ud800", b"\\udfff", b"\\udc00\\ud800"))
        return Hostile("surrogate", _dump(self._with("@@@")).replace(b"@@@", half), 1, 0)

    def separators(self) -> Hostile:
        """Characters that other readers take for the end of a line."""
        text = "".join(self._draw.choices(RAW, k=3))
        return Hostile("separators", json.dumps(self._with(text), ensure_ascii=False).encode(), 1, 0)

    def controls(self) -> Hostile:
        """Control characters, escaped as they must be."""
        return Hostile("controls", _dump(self._with("".join(self._draw.choices(CONTROLS, k=3)))), 1, 0)

    def raw_controls(self) -> Hostile:
        """Control characters in a string as they are: no JSON."""
        control = self._draw.choice(CONTROLS[:-1]).encode()
        return Hostile("raw controls", _dump(self._with("@@@")).replace(b"@@@", control), 0, 1)

    def crlf(self) -> Hostile:
        """A line of another system."""
        return Hostile("crlf", self.whole() + b"\r", 1, 0)

    def bom(self) -> Hostile:
        """A byte-order mark where no file begins: a file was appended to another."""
        return Hostile("bom", b"\xef\xbb\xbf" + self.whole(), 1, 1)

    def deep(self) -> Hostile:
        """Nesting that is cut, and nesting that no decoder follows."""
        depth = self._draw.choice((120, 300, 900, 20_000))
        inside = b"[" * depth + b"]" * depth
        data = _dump(self._record(self._text()) | {"deep": "@@@"}).replace(b'"@@@"', inside)
        return Hostile("deep", data, *((1, 0) if depth < 500 else (None, None) if depth < 1000 else (0, 1)))

    def number(self) -> Hostile:
        """Numbers that 64 bits do not hold."""
        data = _dump(self._record(self._text()) | {"number": "@@@"})
        return Hostile("number", data.replace(b'"@@@"', self._draw.choice(NUMBERS).encode()), 1, 0)

    def long_number(self) -> Hostile:
        """More digits than Python turns into a number."""
        data = _dump(self._record(self._text()) | {"number": "@@@"})
        return Hostile("long number", data.replace(b'"@@@"', b"7" * TOO_LONG_NUMBER), 0, 1)

    def wrong_types(self) -> Hostile:
        """Fields of a type they never had."""
        found = self._record(self._text())
        message = found["message"]
        assert isinstance(message, dict)
        message[self._draw.choice(sorted(message))] = self._draw.choice(WRONG)
        for name in self._draw.sample(sorted(found), 3):
            found[name] = self._draw.choice(WRONG)
        return Hostile("wrong types", _dump(found), 1, 0)

    def numeric_keys(self) -> Hostile:
        """A message spread into its characters (seen in the wild)."""
        found = self._record("x")
        return Hostile("numeric keys", _dump(found | {"message": dict(enumerate(self._text()))}), 1, 0)

    def unknown(self) -> Hostile:
        """A type of a version to come."""
        kind = f"future-{self._draw.randrange(5)}"
        return Hostile(
            "unknown", _dump({"type": kind, "sessionId": "s", "uuid": self._uuid(), "x": self._text()}), 1, 0
        )

    def not_object(self) -> Hostile:
        """JSON that is no object."""
        return Hostile("not an object", self._draw.choice(NOT_OBJECTS), 0, 1)

    def no_json(self) -> Hostile:
        """Pieces of pretty-printed JSON, comments, garbage."""
        return Hostile("no json", self._draw.choice(NO_JSON), 0, 1)

    def blank(self) -> Hostile:
        """Nothing, in many forms."""
        return Hostile("blank", self._draw.choice(BLANKS), 0, 0)

    def mutated(self) -> Hostile:
        """A record with bytes changed, cut out or put in at random."""
        data = bytearray(self.whole())
        for _ in range(self._draw.randrange(1, 6)):
            at = self._draw.randrange(len(data))
            match self._draw.randrange(4):
                case 0:
                    data[at] = self._draw.randrange(256)
                case 1:
                    data[at] ^= 1 << self._draw.randrange(8)
                case 2:
                    del data[at : at + self._draw.randrange(1, 20)]
                case _:
                    data[at:at] = self._draw.randbytes(self._draw.randrange(1, 8))
            data = data or bytearray(b"{")
        line = bytes(data).replace(b"\n", b" ")
        return Hostile("mutated", line, *counted(line))

    def _long(self) -> Hostile:
        """A line that is read in several turns, below or beyond the reader's cap."""
        beyond = self._draw.random() < 0.5
        data = _dump(self._with("x" * (LINE_CAP * 3 // (2 if beyond else 4))))
        return Hostile("oversize", data, 0, 1) if beyond else Hostile("long", data, 1, 0)


def counted(line: bytes) -> tuple[int | None, int | None]:
    """What an arbitrary line holds, by a slow look that shares nothing with the product; (None, None): some row."""
    text = line.strip(b"\0")
    if not text.strip():
        return 0, 0
    try:
        value = json.loads(text.removesuffix(b"\r").decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None, None
    return (1, 0) if isinstance(value, dict) else (0, 1)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


KINDS: tuple[Callable[[Grammar], Hostile], ...] = (
    *(Grammar.good, Grammar.glued, Grammar.spliced, Grammar.torn, Grammar.nuls, Grammar.nul_inside),
    *(Grammar.bad_utf8, Grammar.surrogate, Grammar.separators, Grammar.controls, Grammar.raw_controls),
    *(Grammar.crlf, Grammar.bom, Grammar.deep, Grammar.number, Grammar.long_number, Grammar.wrong_types),
    *(Grammar.numeric_keys, Grammar.unknown, Grammar.not_object, Grammar.no_json, Grammar.blank),
    *(Grammar.mutated, Grammar.mutated, Grammar.mutated),
)
