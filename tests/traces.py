"""Where a text stands in a directory, also while somebody writes in it."""

from pathlib import Path


def holding(directory: Path, text: bytes) -> list[Path]:
    """The files below a directory that hold a text. One that goes meanwhile holds nothing."""
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and text in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
