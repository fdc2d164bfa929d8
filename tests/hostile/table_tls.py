"""What comes to a listener with TLS instead of a handshake that can succeed (RFC 8446 and RFC 5246).

All of it is met before a byte of MQTT is read. The answer is one fatal alert (a record of type 21 whose level is 2)
or a close without a word; in clear text nothing is ever said.

And what comes, past a handshake, between the records of a Client that is connected already.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.faults.brokers import HTTP_HEAD
from tests.hostile.inputs import CONNECTS
from tests.packets.table import octets

RANDOM: Final = bytes(range(32))
SILENCE: Final = -1
SIGNATURES: Final = b"\x00\x0d\x00\x04\x00\x02\x04\x03"  # an extension that is good


class Start(NamedTuple):
    """`alert` is the description of the alert; 0 where any will do, or none; SILENCE for none."""

    name: str
    data: bytes
    because: str
    alert: int = 0


class Within(NamedTuple):
    """Bytes that belong to no record of the Client's own. `alert` is OpenSSL's name of the answer; without one the end
    comes without a word. With `leaves` nothing follows the bytes."""

    name: str
    data: bytes
    because: str
    alert: str = ""
    leaves: bool = False


def record(kind: int, body: bytes, version: bytes = b"\x03\x01") -> bytes:
    return bytes((kind,)) + version + len(body).to_bytes(2, "big") + body


def hello(version: bytes = b"\x03\x03", suites: bytes = b"\x13\x01\xc0\x2f", extensions: bytes = b"") -> bytes:
    """A ClientHello as the body of a record."""
    body = version + RANDOM + b"\x00" + len(suites).to_bytes(2, "big") + suites + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions if extensions else b""
    return b"\x01" + len(body).to_bytes(3, "big") + body


def cut(name: str, size: int) -> Start:
    return Start(name, record(22, hello(extensions=SIGNATURES))[:size], "8446 section 5.1: more must come", SILENCE)


TABLE: Final = [
    Start("MQTT in clear text", octets(CONNECTS[5]), "8446 section 5.1: unexpected_message"),
    Start("HTTP in clear text", HTTP_HEAD, "8446 section 5.1: unexpected_message"),
    Start("zeros", bytes(1000), "8446 section 5.1: unexpected_message"),
    Start("noise", bytes(range(255, 0, -1)) * 10, "8446 section 5.1: unexpected_message"),
    Start("PROXY protocol 1", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no proxy is trusted"),
    Start("the greeting of SSH", b"SSH-2.0-OpenSSH_9.6\r\n", "8446 section 5.1: unexpected_message"),
    Start("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40), "8446 appendix D.5: MUST NOT"),
    Start("SSL 3", record(22, hello(b"\x03\x00"), b"\x03\x00"), "8446 appendix D.5: MUST NOT"),
    Start("TLS 1.0", record(22, hello(b"\x03\x01")), "RFC 8996: MUST NOT; protocol_version", 70),
    Start("TLS 1.1", record(22, hello(b"\x03\x02")), "RFC 8996: MUST NOT; protocol_version", 70),
    Start("no suite", record(22, hello(suites=b"")), "8446 section 4.1.2: decode_error"),
    Start("half a suite", record(22, hello(suites=b"\x13")), "8446 section 4.1.2: decode_error"),
    Start(
        "suites without encryption",
        record(22, hello(suites=b"\x00\x01\x00\x02\x00\x3b")),
        "RFC 9325: MUST NOT; handshake_failure",
        40,
    ),
    Start(
        "suites for export",
        record(22, hello(suites=b"\x00\x03\x00\x06\x00\x08")),
        "RFC 9325: MUST NOT; handshake_failure",
        40,
    ),
    Start("RC4", record(22, hello(suites=b"\x00\x04\x00\x05\xc0\x11")), "RFC 7465: MUST NOT; handshake_failure", 40),
    Start("an extension past the end", record(22, hello(extensions=b"\x00\x10\xff\xff")), "8446 section 4.2"),
    Start("a handshake that promises 16 MB", record(22, b"\x01\xff\xff\xff" + bytes(100)), "8446 section 4"),
    Start("a record of 65,535 bytes", b"\x16\x03\x01\xff\xff" + bytes(20_000), "8446 section 5.1: record_overflow", 22),
    Start("a record of nothing", record(22, b""), "8446 section 5.1: MUST NOT"),
    Start("application data first", record(23, b"hello"), "8446 section 5: unexpected_message"),
    Start("ChangeCipherSpec first", record(20, b"\x01"), "8446 section 5: unexpected_message"),
    Start("a fatal alert first", record(21, b"\x02\x28"), "8446 section 6: the connection is over"),
    Start("an alert of three bytes", record(21, b"\x02\x28\x00"), "8446 section 6: decode_error"),
    Start("a Heartbeat", record(24, b"\x01\x40\x00"), "8446 section 5: an unknown type"),
    Start("a Finished first", record(22, b"\x14\x00\x00\x0c" + bytes(12)), "8446 section 4: unexpected_message"),
    Start("a ServerHello", record(22, b"\x02" + hello()[1:]), "8446 section 4: unexpected_message"),
    cut("one byte", 1),
    cut("half a header", 3),
    cut("a header alone", 5),
    cut("half a ClientHello", 40),
    Start("a ClientHello without its last byte", record(22, hello())[:-1], "8446 section 5.1: more must come", SILENCE),
    Start("a ClientHello of noise", record(22, b"\x01\x00\x00\x64" + bytes(range(100))), "8446 section 4.1.2"),
    Start("a ClientHello of one byte", record(22, b"\x01\x00\x00\x01\x03"), "8446 section 4.1.2: decode_error", 50),
    Start(
        "a ClientHello and MQTT behind it",
        record(22, hello(b"\x03\x01")) + octets(CONNECTS[5]),
        "RFC 8996: MUST NOT; protocol_version",
        70,
    ),
    Start(
        "names of protocols past the end",
        record(22, hello(extensions=b"\x00\x10\x00\x05\x00\x03\x09mq")),
        "RFC 7301 section 3.1; decode_error",
        50,
    ),
    Start(
        "a ClientHello, a record a byte", b"".join(record(22, bytes((byte,))) for byte in hello()), "8446 section 5.1"
    ),
]

WITHIN: Final = [
    Within("a PINGREQ in clear text", b"\xc0\x00\xc0\x00\xc0\x00", "8446 section 5.1", "PROTOCOL_VERSION"),
    Within("noise", bytes(range(255, 0, -1)), "8446 section 5.1: a record of no version", "PROTOCOL_VERSION"),
    Within("another's record", record(23, bytes(40), b"\x03\x03"), "8446 section 5.2", "BAD_RECORD_MAC"),
    Within("a record of nothing", record(23, b"", b"\x03\x03"), "8446 section 5.2", "BAD_RECORD_MAC"),
    Within("a record of 65,535 bytes", b"\x17\x03\x03\xff\xff" + bytes(100), "8446 section 5.2", "RECORD_OVERFLOW"),
    Within("a ClientHello in clear text", record(22, hello(), b"\x03\x03"), "8446 section 5", "UNEXPECTED_MESSAGE"),
    Within("half a record", b"\x17\x03\x03\x00\x40" + bytes(10), "8446 section 6.1: a truncation", "", True),
    Within("half a header", b"\x17\x03", "8446 section 6.1: a truncation", "", True),
    Within("no goodbye", b"", "8446 section 6.1: a truncation", "", True),
]
