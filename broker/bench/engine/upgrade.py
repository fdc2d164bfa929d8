"""The opening handshake (RFC 6455 section 4.1), thousands of times: one request with another key in it each time.

The answer is judged here where it opens a WebSocket; a refusal is left to `ClientHandshake`, which can tell it best.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final

from broker.websocket.client_handshake import HEAD_BYTES, ClientHandshake, HandshakeRefused

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY: Final = b"\r\nsec-websocket-key: "
_SWITCHING: Final = b"HTTP/1.1 101 "


class Opening:
    """What all handshakes with one Server have in common."""

    def __init__(self, host: str, port: int, path: str, subprotocol: str, secure: bool = False) -> None:
        self.host = host
        self.port = port
        self.path = path
        self.secure = secure
        self.subprotocol = subprotocol
        request = self.judge().request
        at = request.lower().index(_KEY) + len(_KEY)
        self.before_key = request[:at]
        self.after_key = request[request.index(b"\r\n", at) :]

    def judge(self) -> ClientHandshake:
        return ClientHandshake(self.host, self.port, self.path, secure=self.secure, subprotocols=[self.subprotocol])


class Upgrade:
    """One handshake: send `request`, `feed` what comes back."""

    __slots__ = ("_accept", "_answer", "_opening", "request")

    def __init__(self, opening: Opening) -> None:
        key = base64.b64encode(os.urandom(16))
        self.request: bytes = opening.before_key + key + opening.after_key
        self._accept: bytes = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._opening: Opening = opening
        self._answer: bytes = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take what was read; None, or what follows the answer once it is whole. `HandshakeRefused` for any other."""
        self._answer += data
        answer = self._answer
        size = min(len(answer), len(_SWITCHING))
        if answer[:size] != _SWITCHING[:size] or len(answer) > HEAD_BYTES:
            judge = self._opening.judge()
            if judge.feed(answer):
                raise HandshakeRefused(101, "an answer that is not one to this request")
            return None
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return None
        fields: dict[bytes, bytes] = {}
        for line in answer[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        fault = self._fault(fields)
        if fault:
            raise HandshakeRefused(101, f"the answer breaks the WebSocket protocol: {fault}")
        return answer[end + 4 :]

    def _fault(self, fields: dict[bytes, bytes]) -> str:
        if fields.get(b"upgrade", b"").lower() != b"websocket":
            return "no Upgrade to websocket"
        if b"upgrade" not in [token.strip() for token in fields.get(b"connection", b"").lower().split(b",")]:
            return "no Upgrade in Connection"
        if fields.get(b"sec-websocket-accept") != self._accept:
            return "Sec-WebSocket-Accept is not the one for our key"
        if b"sec-websocket-extensions" in fields:
            return "an extension that was not offered"
        if fields.get(b"sec-websocket-protocol") != self._opening.subprotocol.encode():
            return f"the subprotocol {self._opening.subprotocol} was not chosen: is this MQTT?"
        return ""
