"""WebSocket frames, as bytes in and bytes out (RFC 6455 section 5).

The law of this file:

1. A frame is judged by its header, before a byte of its payload is kept. In the stream mode, which every MQTT door
   uses, payload is handed on as it comes and never kept: a decoder holds at most one unfinished header or control
   frame (139 bytes), whatever a peer promises.
2. A violation is answered once, with a Close frame that names it; from then on the input is ignored.
3. A compressed message is inflated a step at a time, and `maximum` holds for what comes out as for what comes in. What
   one read would inflate to beyond a step stays in its compressed form until it is asked for.

MQTT takes the payloads of all binary messages as one stream of bytes: neither frames nor messages mean anything to it
[MQTT-6.0.0-2]. So `feed` returns joined payload, not messages. The other mode, `messages=True`, keeps whole text and
binary messages and is what the Autobahn suite speaks to; the rules and the lines that keep them are the same.

A call of `feed` costs most where a Node client sends one MQTT packet as six to nine tiny frames. The first branch of
its loop is for these: an unfragmented masked binary frame of less than 64 KiB that is wholly there.
"""

from __future__ import annotations

import codecs
import os
import zlib
from typing import TYPE_CHECKING, Final

from broker.websocket.mask import apply_mask

if TYPE_CHECKING:
    from broker.websocket.deflate import Inflater

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS_RECEIVED: Final = 1005  # stands for a Close frame without a code; never sent
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

INFLATE_STEP: Final = 64 * 1024  # bytes that one call may give of compressed messages, or little more than twice that
_INFLATE_PIECE: Final = 4096  # bytes unmasked and inflated at a time; a multiple of the masking key's four

_SHORT_HEADERS: Final = [bytes((0x80 | BINARY, length)) for length in range(126)]
_keys: Final[list[bytes]] = []


def frame_header(length: int) -> bytes:
    """The header of a Server's unfragmented binary frame with `length` bytes of payload."""
    if length < 126:
        return _SHORT_HEADERS[length]
    if length < 0x10000:
        return b"\x82\x7e" + length.to_bytes(2, "big")
    return b"\x82\x7f" + length.to_bytes(8, "big")


def binary_frames(payload: bytes, frame_bytes: int, masked: bool = False) -> bytes:
    """`payload` as binary messages of at most `frame_bytes` each, every one a frame; no payload gives no frame.

    A packet may so be split over messages, which a receiver must bear [MQTT-6.0.0-2]. `masked` is for a Client.
    """
    length = len(payload)
    if length <= frame_bytes:
        if length == 0:
            return b""
        if masked:
            return _masked_frame(BINARY, payload)
        return frame_header(length) + payload
    parts: list[bytes] = []
    for start in range(0, length, frame_bytes):
        piece = payload[start : start + frame_bytes]
        if masked:
            parts.append(_masked_frame(BINARY, piece))
        else:
            parts.append(frame_header(len(piece)))
            parts.append(piece)
    return b"".join(parts)


def message_frame(opcode: int, payload: bytes, masked: bool = False) -> bytes:
    """One unfragmented frame of any opcode."""
    if masked:
        return _masked_frame(opcode, payload)
    return bytes((0x80 | opcode,)) + frame_header(len(payload))[1:] + payload


def close_frame(code: int, reason: str = "", masked: bool = False) -> bytes:
    """A Close frame; `NO_STATUS_RECEIVED` gives an empty one. A long reason is cut to the 123 bytes that fit."""
    if code == NO_STATUS_RECEIVED:
        return message_frame(CLOSE, b"", masked)
    text = reason.encode("utf-8")[:123].decode("utf-8", "ignore").encode("utf-8")
    return message_frame(CLOSE, code.to_bytes(2, "big") + text, masked)


def ping_frame(payload: bytes = b"", masked: bool = False) -> bytes:
    """A Ping frame with at most 125 bytes of payload."""
    return message_frame(PING, payload, masked)


def pong_frame(payload: bytes = b"", masked: bool = False) -> bytes:
    """A Pong frame with at most 125 bytes of payload."""
    return message_frame(PONG, payload, masked)


def _masked_frame(opcode: int, payload: bytes) -> bytes:
    header = frame_header(len(payload))
    mask = _masking_key()
    return bytes((0x80 | opcode, 0x80 | header[1])) + header[2:] + mask + apply_mask(payload, mask)


def _masking_key() -> bytes:
    """A key that nobody can foresee, another for every frame (RFC 6455 section 5.3); drawn many at a time."""
    if not _keys:
        drawn = os.urandom(1024)
        _keys.extend([drawn[index : index + 4] for index in range(0, 1024, 4)])
    return _keys.pop()


def _is_close_code(code: int) -> bool:
    """Whether a Close frame may carry `code`: RFC 6455 section 7.4 and the IANA registry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class FrameDecoder:
    """The frames of one peer. Feed it; send what `take_replies` gives; end the connection once `closed`.

    `maximum` bounds the payload of a message, all its fragments added up, in bytes, and may be set at any time;
    `fragments` bounds how many frames a message may have, empty ones too. A Server (`server=True`) demands masked
    frames and answers unmasked, a Client the reverse. With `messages=True` nothing is streamed: `feed` returns no
    bytes, text is allowed and checked as it comes, and `take_messages` gives (opcode, payload) of the whole messages.

    With an `inflater` permessage-deflate is agreed on. Then call `more` after each `feed` while `pending` is set.
    """

    __slots__ = (
        "_close_sent",
        "_deflated",
        "_final",
        "_fragmented",
        "_fragments",
        "_held",
        "_inflated",
        "_mask",
        "_messages",
        "_opcode",
        "_parts",
        "_remaining",
        "_replies",
        "_size",
        "_step",
        "_utf8",
        "close_code",
        "close_reason",
        "closed",
        "fragments",
        "inflater",
        "maximum",
        "messages",
        "pending",
        "pongs_received",
        "server",
        "violation",
    )

    def __init__(self, maximum: int, fragments: int = 64, server: bool = True, messages: bool = False) -> None:
        self.maximum: int = maximum
        self.fragments: int = fragments
        self.server: bool = server
        self.messages: bool = messages
        self.inflater: Inflater | None = None  # of compressed messages, where they are agreed on
        self.pending: bool = False  # more payload can be had of what was fed

        self.closed: bool = False  # a Close came, or a violation was met: nothing is read any more
        self.close_code: int | None = None  # the code that the peer sent, or that of its violation
        self.close_reason: str = ""  # the peer's words
        self.violation: str = ""  # what the peer did wrong; empty after an orderly Close
        self.pongs_received: int = 0

        self._held: bytes = b""  # the beginning of a header or of a control frame
        self._remaining: int = 0  # payload bytes still to come of the data frame being read
        self._mask: bytes = b""  # of that frame, turned to the next byte
        self._final: bool = True  # FIN of that frame
        self._fragmented: bool = False  # a message has begun and its last frame's header is still to come
        self._opcode: int = BINARY  # of the message being read
        self._fragments: int = 0  # frames of that message so far
        self._size: int = 0  # payload bytes of that message so far, promised ones included
        self._deflated: bool = False  # that message is compressed
        self._inflated: int = 0  # bytes that came out of it so far
        self._step: int = 0  # bytes that came out of compressed messages in this step
        self._parts: list[bytes] = []
        self._messages: list[tuple[int, bytes]] = []
        self._replies: list[bytes] = []
        self._utf8: codecs.IncrementalDecoder | None = None  # where text comes
        self._close_sent: bool = False

    @property
    def replying(self) -> bool:
        """Whether `take_replies` has something to send."""
        return len(self._replies) > 0

    def take_replies(self) -> bytes:
        """The Pong and Close frames to be sent now; empty when there are none."""
        if not self._replies:
            return b""
        replies = b"".join(self._replies)
        self._replies.clear()
        return replies

    def take_messages(self) -> list[tuple[int, bytes]]:
        """The (opcode, payload) of messages completed since the last call; only with `messages=True`."""
        messages = self._messages
        self._messages = []
        return messages

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "") -> bytes:
        """The Close frame that begins the closing handshake from our side; empty when one was sent before.

        The peer's data is still decoded afterwards; its answering Close sets `closed` and is not answered again.
        """
        if self._close_sent:
            return b""
        self._close_sent = True
        return close_frame(code, reason, not self.server)

    def feed(self, data: bytes) -> bytes:
        """Take the bytes of one read; return the payload bytes of data frames in it, in order.

        Never raises for a peer's fault: payload that came before a violation is returned, then `closed` is set.
        """
        if self.closed:
            return b""
        if self._held:
            data = self._held + data
            self._held = b""
        end = len(data)
        position = 0
        parts = self._parts
        if self._remaining:
            position = self._payload(data, 0, end)
        maximum = self.maximum
        server = self.server
        while end - position >= 2 and not self.closed:
            if data[position] == 0x82 and server and not self._fragmented:
                second = data[position + 1]
                length = -1
                if 0x80 <= second < 0xFE:
                    length = second - 0x80
                    start = position + 6
                elif second == 0xFE and end - position >= 8:
                    length = data[position + 2] << 8 | data[position + 3]
                    start = position + 8
                    if length < 126:
                        length = -1
                if 0 <= length <= maximum and start + length <= end:
                    position = start + length
                    if length:
                        parts.append(apply_mask(data[start:position], data[start - 4 : start]))
                    if self.messages:
                        self._opcode = BINARY
                        self._message_ended()
                    continue
            start = self._frame(data, position, end)
            if start < 0:
                break
            position = start
        if position < end and not self.closed:
            self._held = data[position:]
        if self.messages or not parts:
            return b""
        payload = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return payload

    def more(self) -> bytes:
        """The next payload bytes of what was fed before, while `pending`."""
        self.pending = False
        return self.feed(b"")

    def _frame(self, data: bytes, position: int, end: int) -> int:
        """Read the frame at `position`; return where to go on, or -1 for a violation or when more must come first.

        Nothing is changed until the header, and with it a control frame's payload, is wholly there.
        """
        first = data[position]
        second = data[position + 1]
        opcode = first & 0x0F
        final = first & 0x80 != 0
        length = second & 0x7F
        if first & 0x70 and (first & 0x30 or self.inflater is None or opcode == CONTINUATION or opcode >= CLOSE):
            return self._fail(PROTOCOL_ERROR, "a reserved bit is set")
        if (second & 0x80 != 0) != self.server:
            return self._fail(PROTOCOL_ERROR, "the frame is not masked" if self.server else "the frame is masked")
        if opcode >= CLOSE:
            if opcode > PONG:
                return self._fail(PROTOCOL_ERROR, "an unknown opcode")
            if length > 125:
                return self._fail(PROTOCOL_ERROR, "a control frame of more than 125 bytes")
            if not final:
                return self._fail(PROTOCOL_ERROR, "a fragmented control frame")
        elif opcode == CONTINUATION:
            if not self._fragmented:
                return self._fail(PROTOCOL_ERROR, "a continuation of no message")
        elif opcode > BINARY:
            return self._fail(PROTOCOL_ERROR, "an unknown opcode")
        elif self._fragmented:
            return self._fail(PROTOCOL_ERROR, "a new message within a fragmented one")
        elif opcode == TEXT and not self.messages:
            return self._fail(UNSUPPORTED_DATA, "MQTT is sent in binary frames")  # [MQTT-6.0.0-1]

        start = position + 2
        if length == 126:
            start += 2
            if start > end:
                return -1
            length = int.from_bytes(data[start - 2 : start], "big")
            if length < 126:
                return self._fail(PROTOCOL_ERROR, "a length not in its shortest form")
        elif length == 127:
            start += 8
            if start > end:
                return -1
            length = int.from_bytes(data[start - 8 : start], "big")
            if length < 0x10000 or length >= 0x8000000000000000:
                return self._fail(PROTOCOL_ERROR, "a length not in its shortest form or above 63 bits")
        if opcode < CLOSE:
            size = length
            fragments = 1
            if opcode == CONTINUATION:
                size += self._size
                fragments += self._fragments
            if size > self.maximum:
                return self._fail(MESSAGE_TOO_BIG, f"a message of more than {self.maximum} bytes")
            if fragments > self.fragments:
                return self._fail(POLICY_VIOLATION, f"a message of more than {self.fragments} frames")
        mask = b""
        if self.server:
            start += 4
            if start > end:
                return -1
            mask = data[start - 4 : start]

        if opcode >= CLOSE:
            stop = start + length
            if stop > end:
                return -1
            payload = data[start:stop]
            self._control(opcode, apply_mask(payload, mask) if self.server else payload)
            return stop
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._deflated = first & 0x40 != 0
            self._inflated = 0
        self._size = size
        self._fragments = fragments
        self._fragmented = not final
        self._final = final
        self._remaining = length
        self._mask = mask
        return self._payload(data, start, end)

    def _payload(self, data: bytes, start: int, end: int) -> int:
        """Hand on what is there of the current data frame's payload; return where it stops."""
        if self._deflated:
            return self._inflate(data, start, end)
        length = self._remaining
        stop = start + length
        if stop > end:
            stop = end
            length = stop - start
        self._remaining -= length
        if length:
            piece = data[start:stop]
            if self.server:
                mask = self._mask
                piece = apply_mask(piece, mask)
                turn = length & 3
                if turn:
                    self._mask = mask[turn:] + mask[:turn]
            self._parts.append(piece)
            if self._opcode == TEXT and not self._is_utf8(piece, False):
                return end
        if self.messages and self._final and self._remaining == 0:
            self._message_ended()
        return stop

    def _inflate(self, data: bytes, start: int, end: int) -> int:
        """`_payload` of a compressed message; behind a whole step the rest is held, and `pending` says so."""
        inflater = self.inflater
        assert inflater is not None
        stop = min(start + self._remaining, end)
        try:
            while start < stop:
                if self._step >= INFLATE_STEP:
                    self._step = 0
                    self._held = data[start:end]
                    self.pending = True
                    return end
                piece = data[start : min(start + _INFLATE_PIECE, stop)]
                mask = self._mask
                if self.server:
                    piece = apply_mask(piece, mask)
                # One byte more than is allowed, for it to be seen.
                room = max(1, min(INFLATE_STEP, self.maximum - self._inflated + 1))
                inflated = inflater.inflate(piece, room)
                taken = len(piece) - inflater.unread
                start += taken
                self._remaining -= taken
                turn = taken & 3
                if turn:
                    self._mask = mask[turn:] + mask[:turn]
                if not self._take_inflated(inflated):
                    return -1
            if self._final and self._remaining == 0:
                if not self._take_inflated(inflater.end(max(1, self.maximum - self._inflated + 1))):
                    return -1
                if self.messages:
                    self._message_ended()
        except zlib.error:
            return self._fail(INVALID_DATA, "compressed data that cannot be read")
        return start

    def _take_inflated(self, piece: bytes) -> bool:
        """Hand on what came out of a compressed message, unless the message has become too large."""
        length = len(piece)
        if length == 0:
            return True
        self._inflated += length
        self._step += length
        if self._inflated > self.maximum:
            self._fail(MESSAGE_TOO_BIG, f"a compressed message of more than {self.maximum} bytes")
            return False
        self._parts.append(piece)
        return self._opcode != TEXT or self._is_utf8(piece, False)

    def _message_ended(self) -> None:
        if self._opcode == TEXT and not self._is_utf8(b"", True):
            return
        self._messages.append((self._opcode, b"".join(self._parts)))
        self._parts.clear()

    def _is_utf8(self, piece: bytes, final: bool) -> bool:
        if self._utf8 is None:
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            self._utf8.decode(piece, final)
        except UnicodeDecodeError:
            self._fail(INVALID_DATA, "text that is not UTF-8")
            return False
        return True

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._replies.append(pong_frame(payload, not self.server))
        elif opcode == PONG:
            self.pongs_received += 1
        elif len(payload) == 0:
            self._peer_closed(NO_STATUS_RECEIVED, "")
        elif len(payload) == 1:
            self._fail(PROTOCOL_ERROR, "half a close code")
        else:
            code = int.from_bytes(payload[:2], "big")
            if not _is_close_code(code):
                self._fail(PROTOCOL_ERROR, f"the close code {code}")
                return
            try:
                reason = payload[2:].decode("utf-8")
            except UnicodeDecodeError:
                self._fail(INVALID_DATA, "a close reason that is not UTF-8")
                return
            self._peer_closed(code, reason)

    def _peer_closed(self, code: int, reason: str) -> None:
        self.closed = True
        self.close_code = code
        self.close_reason = reason
        if not self._close_sent:
            self._close_sent = True
            self._replies.append(close_frame(code, "", not self.server))  # its code is echoed: section 5.5.1

    def _fail(self, code: int, violation: str) -> int:
        self.closed = True
        self.close_code = code
        self.violation = violation
        if not self._close_sent:
            self._close_sent = True
            self._replies.append(close_frame(code, violation, not self.server))
        return -1
