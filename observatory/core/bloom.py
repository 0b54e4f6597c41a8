"""A Bloom filter: "was this added before?" in memory that never grows. "No" is certain, "yes" only likely."""

from collections.abc import Iterable

MAX_BYTES = 2 * 1024 * 1024  # 2²⁴ bits: a hash of 64 bits holds three places of 24, all but independent
SECOND, THIRD = 20, 40  # bits of the hash below the second place and the third


class Bloom:
    """Texts that were added, as three bits of each. Equal only within one process: Python's hash is salted.

    Args: size: bytes, a power of two up to MAX_BYTES. With n texts in m bits (1 - e^(-3 n / m))³ of all others seem to
    have been added: at 32 bits a text 1 in 1,400, at 8 bits 1 in 33, at 4 bits 1 in 7.
    """

    __slots__ = ("_bits", "_mask", "added")

    def __init__(self, size: int) -> None:
        if not 0 < size <= MAX_BYTES or size & (size - 1):
            raise ValueError(f"a power of two up to {MAX_BYTES}, not {size}")
        self._bits = bytearray(size)
        self._mask = size * 8 - 1
        self.added = 0  # texts that were surely new, one by one

    def __contains__(self, text: str) -> bool:
        bits, mask, found = self._bits, self._mask, hash(text)
        first, second, third = found & mask, found >> SECOND & mask, found >> THIRD & mask
        return bool(
            bits[first >> 3] & 1 << (first & 7)
            and bits[second >> 3] & 1 << (second & 7)
            and bits[third >> 3] & 1 << (third & 7)
        )

    def add(self, text: str) -> bool:
        """Add a text; False when it was perhaps added before, True when it surely was not."""
        if text in self:
            return False
        bits, mask, found = self._bits, self._mask, hash(text)
        for place in (found & mask, found >> SECOND & mask, found >> THIRD & mask):
            bits[place >> 3] |= 1 << (place & 7)
        self.added += 1
        return True

    def update(self, texts: Iterable[str]) -> None:
        """Add many, uncounted: a million take a second."""
        bits, mask = self._bits, self._mask
        for text in texts:
            found = hash(text)
            first, second, third = found & mask, found >> SECOND & mask, found >> THIRD & mask
            bits[first >> 3] |= 1 << (first & 7)
            bits[second >> 3] |= 1 << (second & 7)
            bits[third >> 3] |= 1 << (third & 7)
