"""`broker.websocket.forwarded`: who is believed, and about whom."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.websocket.forwarded import HOPS, Networks, forwarded, is_loopback, parsed_address, trusted
from broker.websocket.handshake import REFUSED, UPGRADED, HttpDoor
from tests.websocket.test_handshake import fields, head, status

PROXIES: Networks = tuple(ip_network(text) for text in ("10.0.0.0/8", "2001:db8:ffff::/48"))
PEER = "10.0.0.1:4711"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:4711", True),
        ("10.255.255.255:1", True),
        ("[2001:db8:ffff::7]:1", True),
        ("[::ffff:10.0.0.1]:1", True),
        ("unix", True),
        ("11.0.0.1:4711", False),
        ("[2001:db8::7]:1", False),
        ("[::ffff:11.0.0.1]:1", False),
        ("[fe80::1%eth0]:1", False),
        ("127.0.0.1:1", False),
        ("memory", False),
        ("", False),
        ("10.0.0.1", False),  # no peer of a transport
    ],
)
def test_who_is_trusted(address: str, expected: bool) -> None:
    assert trusted(address, PROXIES) is expected
    assert trusted(address, ()) is False


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:0", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("192.0.2.1:1", False),
        ("unix", False),
    ],
)
def test_who_is_on_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("192.0.2.1", "192.0.2.1:0"),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("2001:DB8:0::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1:0"),  # the left one is what the Client wrote
        ("192.0.2.1, 10.0.0.9", "192.0.2.1:0"),
        ("198.51.100.9,192.0.2.1,\t10.0.0.9 ,10.0.0.8", "192.0.2.1:0"),
        ("10.0.0.7, 10.0.0.9", "10.0.0.7:0"),  # proxies only: the first of them
        ("192.0.2.1, unknown, 10.0.0.9", "10.0.0.9:0"),
        ("192.0.2.1, ", PEER),
        ("", PEER),
        ("unknown", PEER),
        ("_hidden", PEER),
        ("localhost", PEER),
        ("192.0.2.1:", PEER),
        ("192.0.2.1:65536", PEER),
        ("192.0.2.1:-1", PEER),
        ("192.0.2.1:+1", PEER),
        ("192.0.2.1:\u0661", PEER),
        ("192.0.2.01", PEER),
        ("192.0.2", PEER),
        ("192.0.2.1/32", PEER),
        ("[192.0.2.1]", PEER),
        ("[2001:db8::1", PEER),
        ("[2001:db8::1]443", PEER),
        ("[2001:db8::1]:", PEER),
        ("fe80::1%eth0", PEER),
        ("192.0.2.1\x1b[31m", PEER),
        ('for="192.0.2.1"', PEER),
        ("192.0.2.1, 192.0.2.1 192.0.2.2", PEER),
    ],
)
def test_the_address_behind_a_trusted_proxy(field: str, expected: str) -> None:
    assert forwarded({"x-forwarded-for": field}, PEER, PROXIES).address == expected


def test_nobody_else_is_believed() -> None:
    headers = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", "x-forwarded-host": "good.example"}
    for peer, networks in (("192.0.2.9:1", PROXIES), (PEER, ())):
        found = forwarded(headers, peer, networks)
        assert (found.address, found.scheme, found.host) == (peer, "", "")


def test_a_long_row_of_proxies_is_not_walked_to_its_end() -> None:
    field = "192.0.2.1, " + ", ".join(f"10.1.0.{number}" for number in range(HOPS))
    assert forwarded({"x-forwarded-for": field}, PEER, PROXIES).address == "10.1.0.0:0"
    assert forwarded({"x-forwarded-for": "10.0.0.2," * 5000 + "10.0.0.3"}, PEER, PROXIES).address == "10.0.0.2:0"


def test_the_field_forwarded_says_nothing() -> None:
    assert forwarded({"forwarded": "for=192.0.2.1;proto=https"}, PEER, PROXIES).address == PEER


@pytest.mark.parametrize(
    ("field", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("wss", "https"),
        ("http", "http"),
        ("ws", "http"),
        ("", ""),
        ("https, http", ""),
        ("https ", ""),
        ("gopher", ""),
    ],
)
def test_the_scheme(field: str, scheme: str) -> None:
    assert forwarded({"x-forwarded-proto": field}, PEER, PROXIES).scheme == scheme


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("good.example", "good.example"),
        ("good.example:8443", "good.example:8443"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("", ""),
        ("good.example, evil.example", ""),
        ("user@good.example", ""),
        ("good.example/x", ""),
        ('"><script>', ""),
    ],
)
def test_the_host(field: str, host: str) -> None:
    assert forwarded({"x-forwarded-host": field}, PEER, PROXIES).host == host


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_text_raises_or_comes_through(addresses: str, scheme: str, host: str) -> None:
    headers = {"x-forwarded-for": addresses, "x-forwarded-proto": scheme, "x-forwarded-host": host}
    found = forwarded(headers, PEER, PROXIES)
    inner = found.address.rpartition(":")[0].strip("[]")
    assert parsed_address(inner) is not None
    assert found.scheme in ("", "http", "https")
    assert found.host.isascii()
    assert found.host.isprintable()


# -- What a door makes of it


NEAR: Networks = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))
TOLD: dict[str, str | None] = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "good.example",
    "Origin": "https://good.example",
    "Host": "10.0.0.5:8080",
}


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive , Upgrade"])
@pytest.mark.parametrize(("peer", "loopback"), [("10.0.0.1:1", False), ("127.0.0.1:1", True), ("unix", True)])
def test_a_trusted_proxy_says_who_asks_and_for_which_host(connection: str, peer: str, loopback: bool) -> None:
    door = HttpDoor(peer_address=peer, trusted_proxies=NEAR, loopback=loopback)
    door.feed(head("GET /mqtt HTTP/1.1", {**TOLD, "Connection": connection}))
    assert door.outcome == UPGRADED
    assert door.client_address == "192.0.2.1:0"
    assert door.headers["host"] == "good.example"


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "http://good.example"},  # the Client speaks TLS, so its page must have been encrypted too
        {"Origin": "https://evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "good.example, good.example"},
    ],
)
def test_the_origin_must_be_that_of_the_host_behind_the_proxy(changes: dict[str, str | None]) -> None:
    door = HttpDoor(peer_address="10.0.0.1:1", trusted_proxies=NEAR)
    door.feed(head("GET /mqtt HTTP/1.1", {**TOLD, **changes}))
    assert (door.outcome, status(door)) == (REFUSED, 403)
    assert b"strict-transport-security: max-age=86400" in fields(door)


@pytest.mark.parametrize(("peer", "networks"), [("192.0.2.9:1", NEAR), ("10.0.0.1:1", ())])
def test_a_door_believes_nobody_else(peer: str, networks: Networks) -> None:
    door = HttpDoor(peer_address=peer, trusted_proxies=networks)
    door.feed(head("GET /mqtt HTTP/1.1", TOLD))
    assert (door.outcome, status(door)) == (REFUSED, 403)
    assert door.client_address == peer


def test_a_page_that_was_rebound_to_a_proxy_of_this_machine_stays_out() -> None:
    """A browser here is a trusted peer where a proxy here is; it cannot be made to send X-Forwarded-For."""
    changes: dict[str, str | None] = {"Host": "rebound.evil:8080", "Origin": "http://rebound.evil:8080"}
    for told in (None, "127.0.0.1", "junk"):
        door = HttpDoor(peer_address="127.0.0.1:1", trusted_proxies=NEAR, loopback=True)
        door.feed(head("GET /mqtt HTTP/1.1", {**changes, "X-Forwarded-For": told}))
        assert (door.outcome, status(door)) == (REFUSED, 403)


def test_the_page_names_the_address_behind_the_proxy() -> None:
    door = HttpDoor(peer_address="10.0.0.1:1", trusted_proxies=NEAR)
    lines = ["GET / HTTP/1.1", "Host: 10.0.0.5:8080", "X-Forwarded-Proto: https", "X-Forwarded-Host: good.example"]
    door.feed("\r\n".join([*lines, "", ""]).encode())
    assert b"wss://good.example/mqtt" in door.respond()
