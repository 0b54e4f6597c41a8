"""Who knocks: the address that counts behind proxies, and how often each may knock."""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import attrs

from observatory.core.rates import TokenBucket

MAX_ADDRESSES = 4096  # buckets kept at a time; beyond it the one that was quiet for the longest goes
IPV6_PREFIX = 64  # one household or host: it can pick any address below

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def address_of(text: str) -> Address | None:
    """An IP address as text, without zone; IPv4 in IPv6 clothes is IPv4. None if it is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks, read from text. Raises ValueError."""
    return tuple(ip_network(text, strict=False) for text in texts)


@attrs.frozen
class Proxies:
    """The proxies whose word counts."""

    networks: tuple[Network, ...] = ()

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)

    def client(self, peer: str, forwarded_for: str | None) -> Address | None:
        """Whose request it is: the last address in X-Forwarded-For that is no proxy of ours, if `peer` is one.

        Each proxy appends whom it talks to, so what stands before the last stranger may be made up.
        """
        address = address_of(peer)
        for hop in reversed((forwarded_for or "").split(",")):
            if address not in self:
                break
            if (told := address_of(hop.strip())) is None:
                break
            address = told
        return address


@attrs.define
class KnockRates:
    """One token bucket per address; loopback and proxies are exempt. Memory is bounded."""

    rate: float
    burst: float
    proxies: Proxies
    _buckets: "OrderedDict[object, TokenBucket]" = attrs.field(factory=OrderedDict, repr=False)

    def take(self, address: Address | None, now: float) -> bool:
        """Count a handshake; whether the address may have it. `now` is monotonic."""
        if address is None or address.is_loopback or address in self.proxies:
            return True
        key = address if isinstance(address, IPv4Address) else IPv6Network((address, IPV6_PREFIX), strict=False)
        bucket = self._buckets.pop(key, None) or TokenBucket(self.rate, self.burst)
        self._buckets[key] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take(now)

    def __len__(self) -> int:
        return len(self._buckets)
