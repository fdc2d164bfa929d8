"""permessage-deflate: what is agreed on in the handshake, and messages made small and large again (RFC 7692).

The `websockets` package judges the offers; zlib does the work. The law of this file:

1. An Inflater gives no more bytes than it was asked for. What a peer has packed a thousandfold is taken in pieces, and
   whoever takes them stops where a limit is.
2. Without context takeover nothing is kept between messages, and all connections of a thread share one compressor: its
   quarter of a megabyte would cost more to set up than a small message costs to compress. A full flush
   makes it forget, so no byte of one connection is ever referred to in another.
3. A message is sent as it is where it is short or would not shrink.
"""

from __future__ import annotations

import threading
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from websockets.exceptions import InvalidHandshake, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from broker.websocket.frames import BINARY, binary_frames, frame_header, message_frame
from broker.websocket.upgrade import LIST_ELEMENTS

if TYPE_CHECKING:
    from zlib import _Compress as Compressor
    from zlib import _Decompress as Decompressor

    from websockets.typing import ExtensionHeader

SHORT: Final = 256  # bytes; a shorter message saves less than its compression is worth (a judgement)
SHORT_WITH_CONTEXT: Final = 32  # where the window of earlier messages helps

OFFERS_BYTES: Final = 1024  # of a Sec-WebSocket-Extensions header; browsers send 43

_TAIL: Final = b"\x00\x00\xff\xff"  # ends every message and is never sent: section 7.2.1
_NAME: Final = "permessage-deflate"
_BITS: Final = 15  # of a window of 32 KiB, where nobody has said less
_KEPT_BITS: Final = 12  # of windows that are kept
_KEPT_LEVEL: Final = 5  # zlib's memLevel of them: 16 KiB
_EFFORT: Final = 1  # zlib's level: at 64 KiB a quarter of the time of level 6, for a fifth more bytes

_FORGETFUL: Final = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
_MINDFUL: Final = ServerPerMessageDeflateFactory(
    server_max_window_bits=_KEPT_BITS, client_max_window_bits=_KEPT_BITS, compress_settings={"memLevel": _KEPT_LEVEL}
)


class BadOffer(Exception):
    """A Sec-WebSocket-Extensions header that breaks its grammar, or is longer than any need: the handshake fails (RFC
    6455 section 9.1)."""


class Agreement:
    """What a Client and this Server have agreed on; `header` is the Server's answer to the offer."""

    __slots__ = ("header", "incoming_bits", "incoming_context", "outgoing_bits", "outgoing_context")

    def __init__(
        self, header: str, incoming_bits: int, incoming_context: bool, outgoing_bits: int, outgoing_context: bool
    ) -> None:
        self.header = header
        self.incoming_bits = incoming_bits
        self.incoming_context = incoming_context
        self.outgoing_bits = outgoing_bits
        self.outgoing_context = outgoing_context

    def inflater(self) -> Inflater:
        """For the messages of the Client; one a connection."""
        return Inflater(self.incoming_bits, self.incoming_context)

    def deflater(self) -> Deflater:
        """For the messages to the Client; one a connection."""
        return Deflater(self.outgoing_bits, self.outgoing_context)


@lru_cache(maxsize=64)
def extensions(offers: str) -> list[ExtensionHeader]:
    """The name and the parameters of each offer in a Sec-WebSocket-Extensions header. Raises `BadOffer`."""
    if len(offers) > OFFERS_BYTES or max(offers.count(","), offers.count(";")) >= LIST_ELEMENTS:
        raise BadOffer("more offers than anybody needs")
    try:
        return parse_extension(offers)
    except InvalidHandshake as error:
        raise BadOffer(str(error)) from error


@lru_cache(maxsize=64)
def negotiate(offers: str, context_takeover: bool) -> Agreement | None:
    """The first of the offers in a Sec-WebSocket-Extensions header that can be agreed on; None where there is none.

    Raises `BadOffer`.
    """
    factory = _MINDFUL if context_takeover else _FORGETFUL
    for name, parameters in extensions(offers):
        if name != _NAME:
            continue
        try:
            answer, agreed = factory.process_request_params(parameters, [])
        except NegotiationError:
            continue
        return Agreement(
            build_extension([(name, list(answer))]),
            agreed.remote_max_window_bits,
            not agreed.remote_no_context_takeover,
            agreed.local_max_window_bits,
            not agreed.local_no_context_takeover,
        )
    return None


class Inflater:
    """The messages of one peer, made large again. `inflate` what comes of a message, then `end` it.

    Both raise `zlib.error` for what deflate could not have written.
    """

    __slots__ = ("_bits", "_context", "_state", "unread")

    def __init__(self, bits: int = _BITS, context: bool = False) -> None:
        self._bits = bits
        self._context = context
        self._state: Decompressor | None = None
        self.unread: int = 0  # bytes at the end of what was given last for which there was no room

    def inflate(self, data: bytes, room: int) -> bytes:
        """At most `room` bytes, one or more, of what `data` holds; give the last `unread` bytes of it once more."""
        state = self._state
        if state is None:
            state = self._state = zlib.decompressobj(-self._bits)
        if state.eof:
            # A message may end with a final block and the empty one that then stands for its padding: section 7.2.3.5
            if data != b"\x00":
                raise zlib.error("data behind a final block")
            self.unread = 0
            return b""
        out = state.decompress(data, room)
        self.unread = len(state.unconsumed_tail)
        if state.unused_data not in (b"", b"\x00"):
            raise zlib.error("data behind a final block")
        return out

    def end(self, room: int) -> bytes:
        """What zlib has read and not yet given of the message that ends here: a few KiB, at most `room` bytes."""
        state = self._state
        self.unread = 0
        if state is None or state.eof:
            self._state = None
            return b""
        out = state.decompress(_TAIL, room)
        if not self._context:
            self._state = None
        return out


class Deflater:
    """The messages to one peer, made small."""

    __slots__ = ("_bits", "_short", "_state")

    def __init__(self, bits: int = _BITS, context: bool = False) -> None:
        self._bits = bits
        self._short = SHORT_WITH_CONTEXT if context else SHORT
        self._state = zlib.compressobj(_EFFORT, zlib.DEFLATED, -bits, _KEPT_LEVEL) if context else None

    def frames(self, payload: bytes, frame_bytes: int) -> bytes:
        """`payload` as binary messages of at most `frame_bytes` each before compression, every one a frame."""
        length = len(payload)
        if length < self._short:
            return binary_frames(payload, frame_bytes)
        if length <= frame_bytes:
            return self.message(BINARY, payload)
        starts = range(0, length, frame_bytes)
        return b"".join([self.message(BINARY, payload[start : start + frame_bytes]) for start in starts])

    def message(self, opcode: int, payload: bytes) -> bytes:
        """One message of any data opcode as a frame."""
        length = len(payload)
        if length < self._short:
            return message_frame(opcode, payload)
        state = self._state
        if state is not None:
            small = state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH)  # the peer's window follows: always sent
        else:
            small = _shared.compressed(payload, self._bits)
            if len(small) - 4 >= length:
                return message_frame(opcode, payload)
        small = small[:-4]
        return bytes((0xC0 | opcode,)) + frame_header(len(small))[1:] + small


class _Shared(threading.local):
    """The compressors of a thread, by the bits of their window."""

    def __init__(self) -> None:
        self._states: dict[int, Compressor] = {}

    def compressed(self, payload: bytes, bits: int) -> bytes:
        # Kept again only after the flush: what an exception leaves within would be sent to another.
        state = self._states.pop(bits, None)
        if state is None:
            state = zlib.compressobj(_EFFORT, zlib.DEFLATED, -bits)
        small = state.compress(payload) + state.flush(zlib.Z_FULL_FLUSH)
        self._states[bits] = state
        return small


_shared: Final = _Shared()
