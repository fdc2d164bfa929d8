"""The ordinary opening of a WebSocket, recognised as a whole.

Nearly every client opens with the same few lines, and a fleet that comes back after a power cut opens thousands of
connections a second. Judging each of them with a full HTTP parser takes four times what all the rest of a connection
does. So a head that is beyond doubt is read here: one strict expression says that each line is well-formed, no field
comes twice, and all that RFC 6455 section 4.2.1 asks for is there. Whatever is doubtful in the least, or is to be
refused, is left to `broker.websocket.handshake` and the libraries that it stands on, which give the same verdict.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Final

LIST_ELEMENTS: Final = 64  # of a field that is a list: each takes the libraries 2 µs, and a head has room for 16,000

_LINES: Final = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:(?: ?[!-~]+(?: [!-~]+)*)?\r\n){1,64})\r\n"
)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes in base64
_TOKENS: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:, ?[!#$%&'*+.^_`|~0-9A-Za-z-]+){0," + str(LIST_ELEMENTS - 1) + "}"
)
_WITH_A_BODY: Final = ("content-length", "transfer-encoding", "expect")


class Upgrade:
    """An ordinary opening handshake. `headers` has names in lower case."""

    def __init__(
        self, target: str, path: str, query: str, headers: dict[str, str], offered: list[str], key: str
    ) -> None:
        self.target = target
        self.path = path
        self.query = query
        self.headers = headers
        self.offered = offered  # subprotocols, in the Client's order
        self.key = key

    def response(self, subprotocol: str, extensions: str = "") -> bytes:
        """The answer that opens the WebSocket; what is empty is left out of it (RFC 6455 section 4.2.2)."""
        accept = binascii.b2a_base64(hashlib.sha1(self.key.encode() + _GUID).digest(), newline=False).decode()
        chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{agreed}{chosen}\r\n"
        ).encode()


def ordinary_upgrade(head: bytes) -> Upgrade | None:
    """The handshake that `head`, up to its blank line, is; None where it is anything else."""
    match = _LINES.fullmatch(head)
    if match is None:
        return None
    target = match.group(1).decode("ascii")
    headers: dict[str, str] = {}
    for line in match.group(2).decode("ascii").split("\r\n"):
        if line:
            name, _, value = line.partition(":")
            name = name.lower()
            if name in headers:
                return None
            headers[name] = value.strip(" ")
    for name in _WITH_A_BODY:
        if name in headers:
            return None
    if not headers.get("host") or headers.get("sec-websocket-version") != "13":
        return None
    if headers.get("upgrade", "").lower() != "websocket":
        return None
    connection = headers.get("connection", "")
    if connection != "Upgrade" and not _has_upgrade(connection):
        return None
    key = headers.get("sec-websocket-key", "")
    if _KEY.fullmatch(key) is None:
        return None
    offered: list[str] = []
    protocols = headers.get("sec-websocket-protocol")
    if protocols is not None:
        if _TOKENS.fullmatch(protocols) is None:
            return None
        offered = [name.strip(" ") for name in protocols.split(",")]
    path, _, query = target.partition("?")
    return Upgrade(target, path, query, headers, offered, key)


def _has_upgrade(connection: str) -> bool:
    """Whether the tokens of a Connection header name the upgrade, as "keep-alive, Upgrade" does."""
    if _TOKENS.fullmatch(connection) is None:
        return False
    return "upgrade" in [token.strip(" ").lower() for token in connection.split(",")]
