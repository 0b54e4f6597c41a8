"""Values of settings as they are written, wherever that is. Each reader raises ValueError, whose text goes behind the
setting's name."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit

from observatory.core import pruning
from observatory.core.errors import UsageError
from observatory.core.notices import KINDS

N = TypeVar("N")
HOST = re.compile(r"[A-Za-z0-9.:_%-]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_COUNT = re.compile(r"(\d{1,15})([km]?)")


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from `low` to `high`."""

    def read(value: object) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}")
        return number

    return read


def seconds(value: object) -> float:
    """A time, of more than nothing."""
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not 0 < number < 1e9:
        raise ValueError("must be more than 0 seconds")
    return number


def age_or_off(value: object) -> float | None:
    """Seconds; None for `off`."""
    return None if value is None or str(value).lower() == "off" else _of_pruning(pruning.age, value)


def size_or_off(value: object) -> int | None:
    """Bytes; None for `off`."""
    return None if value is None or str(value).lower() == "off" else _of_pruning(pruning.size, value)


def amount(value: object) -> float | None:
    """An amount of money; None for `off`."""
    if value is None or str(value).lower() == "off":
        return None
    try:
        found = float(str(value))
    except ValueError:
        raise ValueError("must be an amount in USD, or off") from None
    if not 0 < found < 1e9:
        raise ValueError("must be more than 0 USD")
    return found


def _of_pruning(read: Callable[[str], N], value: object) -> N:
    try:
        return read(str(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


def one_of(*names: str) -> Callable[[Any], str]:
    """One of these words."""

    def read(value: object) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return str(value)

    return read


def names(value: object) -> tuple[str, ...]:
    """A list, or texts between commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be a list of texts (as a variable: separated by commas)")
    return tuple(part.strip() for part in parts if part.strip())


def yes_or_no(value: object) -> bool:
    """Whether."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in known:
        raise ValueError("must be true or false")
    return known[str(value).lower()]


def host(value: object) -> str:
    """An address to listen on."""
    if not isinstance(value, str) or HOST.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no address of this machine; use 127.0.0.1")
    return value


def public_url(value: object) -> str | None:
    """The address under which a proxy shows the server: a scheme, a host, maybe a path; without a slash at its end."""
    if value in (None, ""):
        return None
    text = str(value).rstrip("/")
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or url.username or _PATH.fullmatch(url.path) is None:
        raise ValueError(f"{text[:80]!r} is no address such as https://example.org/observatory")
    return text


def networks(value: object) -> tuple[str, ...]:
    """Addresses and networks of them."""
    found = names(value)
    for name in found:
        try:
            ip_network(name, strict=False)
        except ValueError:
            raise ValueError(f"{name!r} is no IP address or network, such as 10.0.0.5 or 10.0.0.0/8") from None
    return found


def retention_of(text: str) -> dict[str, Any]:
    """The settings that `--event-retention 7d,500k,2GiB` stands for: an age, a count, and a size, each once.

    Raises UsageError.
    """
    found: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, value = _bound(part)
        if name in found:
            raise UsageError(f"--event-retention {text[:60]} says two things of one kind; write it as 7d,500k,2GiB")
        found[name] = value
    if not found:
        raise UsageError("--event-retention needs an age, a count or a size, such as 7d,500k,2GiB: events are bounded")
    return found


def _bound(text: str) -> tuple[str, float]:
    """A setting and its value. A bare number counts events; `m` behind one is a million of them, not months."""
    if (count := _COUNT.fullmatch(text.lower())) is not None:
        return "event_retention_count", int(count[1]) * {"": 1, "k": 1000, "m": 1_000_000}[count[2]]
    if text.lower().endswith("b"):
        return "event_retention_bytes", pruning.size(text)
    return "event_retention_seconds", pruning.age(text)


def web_address(value: object) -> str | None:
    """The address of a service; None for an empty text."""
    text = str(value or "").rstrip("/")
    if not text:
        return None
    if not text.startswith(("http://", "https://")) or not urlsplit(text).hostname:
        raise ValueError("must be an address that begins with https://")
    return text


def database_url(value: object) -> str | None:
    """Where a PostgreSQL is; None for an empty text. What is wrong is not shown: it holds a password."""
    text = str(value or "")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("postgres", "postgresql") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("must be an address such as postgresql://user:password@host:5432/postgres")
    return text


def secret(value: object) -> str | None:
    """A key; None for an empty text. It is not shown when it is wrong."""
    text = str(value or "").strip()
    if not text.isascii() or any(character.isspace() for character in text):
        raise ValueError("must be a key: ASCII without spaces")
    return text or None


def identifier(value: object) -> str:
    """A name in a database."""
    text = str(value)
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError("must be a name of up to 63 letters, digits and underscores")
    return text


def kinds(value: object) -> tuple[str, ...]:
    """Kinds of notices."""
    found = names(value)
    if unknown := [name for name in found if name not in KINDS]:
        raise ValueError(f"knows no {unknown[0]!r}; use some of {', '.join(KINDS)}")
    return found
