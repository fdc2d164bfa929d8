"""What a proxy says of the Client behind it: X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.

Anybody may send these header fields, so they are read only where the peer itself is a proxy that is trusted. Each
proxy appends the address that it sees: the list is walked from its right end while the hop that wrote an entry is
trusted, and the first address that is not is the Client's. What cannot be read ends the walk. No text of a header comes
out of here, only addresses, names and schemes that were understood.

The field Forwarded (RFC 7239) is not read: of two fields that say the same, the one that the proxy does not write is
written by whom it likes.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

from broker.websocket.origins import host_and_port

if TYPE_CHECKING:
    from collections.abc import Mapping

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

HOPS: Final = 16  # proxies in a row
_SCHEMES: Final = {"https": "https", "wss": "https", "http": "http", "ws": "http"}


class Forwarded:
    """Whom a request comes from: `address` as "192.0.2.1:4711" or "[2001:db8::1]:4711", port 0 where none is known;
    `scheme` ("http", "https") and `host` of the Client's request where a trusted proxy says so, else empty."""

    __slots__ = ("address", "host", "scheme")

    def __init__(self, address: str, scheme: str = "", host: str = "") -> None:
        self.address = address
        self.scheme = scheme
        self.host = host


def forwarded(headers: Mapping[str, str], peer_address: str, trusted_proxies: Networks) -> Forwarded:
    """Read `headers`, names in lower case and repeated fields joined by commas, of a request from `peer_address`."""
    if not trusted(peer_address, trusted_proxies):
        return Forwarded(peer_address)
    address = peer_address
    entries = headers.get("x-forwarded-for", "").rsplit(",", HOPS)
    for entry in reversed(entries[-HOPS:]):
        hop = _entry(entry.strip(" \t"))
        if not hop:
            break
        address = hop
        if not trusted(hop, trusted_proxies):
            break
    scheme = _SCHEMES.get(headers.get("x-forwarded-proto", "").lower(), "")
    host = headers.get("x-forwarded-host", "")
    return Forwarded(address, scheme, host if host_and_port(host) is not None else "")


def trusted(address: str, networks: Networks) -> bool:
    """Whether a peer, as transports name it ("192.0.2.1:4711", "unix"), stands in one of the `networks`.

    Who may open a Unix socket is decided by its permissions: there a proxy is trusted where any is.
    """
    if not networks:
        return False
    if address == "unix":
        return True
    found = _host(address)
    return found is not None and any(found in network for network in networks if network.version == found.version)


def is_loopback(address: str) -> bool:
    """Whether a peer, as transports name it, is on this machine."""
    found = _host(address)
    return found is not None and found.is_loopback


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without zone or port, an IPv4 one also where it is written as an IPv6 one; None for all else."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(256)  # one CONNECT asks up to three times
def network_of(address: str) -> str:
    """What an address, with or without a port, is counted as: an IPv4 address itself, the /64 of an IPv6 one, "" for
    what has none."""
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address.partition(":")[0] if address.count(":") == 1 else address
    parsed = parsed_address(host.partition("%")[0])
    if parsed is None:
        return ""  # a Unix socket, memory
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)


def with_port(address: IPv4Address | IPv6Address, port: int) -> str:
    """As transports name a peer."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _host(address: str) -> IPv4Address | IPv6Address | None:
    host = address[1:].partition("]")[0] if address.startswith("[") else address.rpartition(":")[0]
    return parsed_address(host.partition("%")[0])


def _entry(text: str) -> str:
    """An entry of X-Forwarded-For, with or without a port, as transports name a peer; "" for what is none."""
    host, port = text, "0"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            return ""
        port = rest[1:] if rest else "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = parsed_address(host)
    if address is None or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF):
        return ""
    return with_port(address, int(port))
