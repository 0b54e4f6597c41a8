"""Whose request it is behind proxies, and how often an address may knock."""

import pytest

from observatory.core.visitors import MAX_ADDRESSES, KnockRates, Proxies, address_of, networks_of

PROXIES = Proxies(networks_of(["10.0.0.0/8", "::1", "192.0.2.7"]))


@pytest.mark.parametrize(
    ("text", "found"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("x", None), ("", None),
     ("10.0.0.1:80", None)],
)  # fmt: skip
def test_an_address_is_read_in_any_clothes(text: str, found: str | None) -> None:
    assert address_of(text) == (None if found is None else address_of(found))
    assert (address_of(text) is None) == (found is None)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", None, "198.51.100.1"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),  # no proxy of ours: not believed
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client itself claimed stands before
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 192.0.2.7,10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("::1", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: str | None, client: str) -> None:
    assert PROXIES.client(peer, forwarded) == address_of(client)


def test_without_proxies_nobody_is_believed() -> None:
    assert Proxies().client("127.0.0.1", "203.0.113.9") == address_of("127.0.0.1")


def rates() -> KnockRates:
    return KnockRates(20, 100, PROXIES)


def allowed(one: KnockRates, address: str, count: int, now: float) -> int:
    return sum(one.take(address_of(address), now) for _ in range(count))


def test_an_address_has_a_burst_and_then_a_rate() -> None:
    one = rates()
    assert allowed(one, "203.0.113.9", 150, 0) == 100
    assert allowed(one, "203.0.113.9", 150, 1) == 20
    assert allowed(one, "203.0.113.10", 150, 1) == 100
    assert allowed(one, "203.0.113.9", 150, 100) == 100


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "192.0.2.7", ""])
def test_loopback_and_proxies_are_exempt(exempt: str) -> None:
    one = rates()
    assert allowed(one, exempt, 1000, 0) == 1000
    assert len(one) == 0


def test_a_household_of_ipv6_addresses_is_one() -> None:
    one = rates()
    assert sum(allowed(one, f"2001:db8::{n:x}", 1, 0) for n in range(1, 151)) == 100
    assert allowed(one, "2001:db8:0:1::1", 1, 0) == 1


def test_the_table_is_bounded_and_the_quietest_goes_first() -> None:
    one = rates()
    assert allowed(one, "203.0.113.9", 100, 0) == 100
    for n in range(MAX_ADDRESSES - 1):
        allowed(one, f"198.18.{n >> 8}.{n & 255}", 1, 0)
        if n == 1000:
            assert allowed(one, "203.0.113.9", 1, 0) == 0  # not forgotten, and not quiet
    assert len(one) == MAX_ADDRESSES
    assert allowed(one, "203.0.113.9", 1, 0) == 0
    for n in range(10_000):
        allowed(one, f"198.19.{n >> 8}.{n & 255}", 1, 0)
    assert len(one) == MAX_ADDRESSES
