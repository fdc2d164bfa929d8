"""HTTP heads: in any cut the same answer, which is one that HTTP allows; and one verdict, whoever reads the head."""

from __future__ import annotations

import base64
import hashlib
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from broker.websocket.handshake import READING, REFUSED, REQUEST, UPGRADED, HttpDoor
from tests.fuzz.cuts import pieces

if TYPE_CHECKING:
    from broker.websocket.forwarded import Networks
    from tests.fuzz.cuts import Reads

PROXIES: Final[Networks] = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))
PEERS: Final = ("192.0.2.9:1", "10.0.0.1:4711", "127.0.0.1:1", "unix")
DATE: Final = re.compile(rb"\r\nDate: [^\r]*")
RESPONSE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]+\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]+\r\n)+\r\n")
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def target(data: bytes) -> None:
    """The door of a listener, with its settings one way and the other."""
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    whole = door_of(mode, [data])
    assert whole.outcome in (READING, UPGRADED, REQUEST, REFUSED)
    assert seen_of_door(door_of(mode, pieces(data, cut))) == seen_of_door(whole)
    if whole.outcome == READING:
        assert len(data) <= 16 * 1024
        assert not whole.response
        return
    response = whole.respond() if whole.outcome == REQUEST else whole.response
    match = RESPONSE.match(response)
    assert match is not None, response
    status = int(match[1])
    body = response[match.end() :]
    assert (status == 101) == (whole.outcome == UPGRADED)
    assert whole.reason.isprintable()
    assert bool(whole.reason) == (whole.outcome == REFUSED)
    if status == 101:
        assert not body
        check_upgrade(mode, data, whole)
    elif data.startswith(b"HEAD "):
        assert not body
    else:
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in match[0]
        assert b"\r\nConnection: close\r\n" in match[0]


def door_of(mode: int, reads: Reads) -> HttpDoor:
    door = HttpDoor(
        require_subprotocol=mode & 1 != 0,
        origins=("*",) if mode & 2 else ("same-origin", "https://a.example"),
        secure=mode & 4 != 0,
        loopback=mode & 8 != 0,
        compression=mode & 16 != 0,
        context_takeover=mode & 16 != 0 and mode & 2 != 0,
        peer_address=PEERS[mode >> 6],
        trusted_proxies=PROXIES if mode & 32 else (),
    )
    for data in reads:
        door.feed(data)
    return door


def seen_of_door(door: HttpDoor) -> tuple[object, ...]:
    leftover = door.leftover if door.outcome in (UPGRADED, REQUEST) else b""
    agreed = door.compression.header if door.compression is not None else ""
    answer = DATE.sub(b"", door.response)
    head = (door.outcome, door.reason, answer, leftover, door.subprotocol, agreed, door.client_address)
    return (*head, door.target, door.path, door.query, door.headers)


def check_upgrade(mode: int, data: bytes, door: HttpDoor) -> None:
    """It is what RFC 6455 section 4.2.2 says; and who reads every head says the same as who reads the ordinary ones."""
    key = door.headers["sec-websocket-key"].encode()
    assert len(base64.b64decode(key, validate=True)) == 16
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    assert b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n" in door.response
    with patch("broker.websocket.handshake.ordinary_upgrade", return_value=None):
        careful = door_of(mode, [data])
    assert careful.outcome == UPGRADED, careful.reason
    one, other = (sorted(DATE.sub(b"", each.response).split(b"\r\n")) for each in (careful, door))
    assert one == other
    assert seen_of_door(careful)[3:] == seen_of_door(door)[3:]
