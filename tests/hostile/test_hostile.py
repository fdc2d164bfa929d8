"""Every hostile input of the tables gets its one answer, and a healthy pair of Clients goes on all the while.

One broker takes all of it: over TCP and WebSocket, with TLS and without, in every version of MQTT, several strangers at
a time. Among each handful of inputs the pair exchanges a message. At the end the process lives, has logged no fault of
its own, holds no socket more, and little more memory.
"""

from __future__ import annotations

import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from OpenSSL import SSL

from tests.authority import authority
from tests.faults.brokers import MIB, SECURE, running
from tests.hostile import table_first, table_frames, table_http, table_packets, table_proxy, table_tls
from tests.hostile.inputs import CONNECTS, FirstBytes, Frames, Head, Packets
from tests.hostile.peers import NO_CLOSE, PATIENCE, WEBSOCKETS, GoodPair, Said, Stranger, taken_apart
from tests.packets.table import octets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess
    from tests.hostile.table_proxy import Header

POLICY = b"\x03\xf0"  # 1008
NORMAL = b"\x03\xe8"  # 1000
DOORS = ("tcp", "ws")
# Listeners with the PROXY protocol, and what they are behind it; the second ones believe no peer of these tests.
PROXIED = {"proxied-tcp": "tcp", "proxied-ws": "ws", "proxied-mqtts": "mqtts", "proxied-wss": "wss"}
UNTRUSTING = {"untrusting-tcp": "tcp", "untrusting-wss": "wss"}
HOSTS = {"127.0.0.1": "", "127.0.0.2": "proxied-", "127.0.0.3": "untrusting-"}
NETWORKS = {"proxied-": "127.0.0.0/8", "untrusting-": "10.0.0.0/8"}
AT_ONCE = 8  # strangers
WARMTH = 48 * MIB  # of memory that the first round may take: caches, buffers, what TLS needs
GROWTH = 8 * MIB  # that another round may add
TRUNCATED = {
    "CONNECT": (0, '10 .. "MQTT" 05 c6 000a [11 00000001] "hostile" [] "w" "x" "u" "p"'),
    "PUBLISH": (5, '34 .. "a" 0001 [26 "k" "v"] \'payload\''),
    "PUBLISH of 3.1.1": (4, "32 .. \"a\" 0001 'payload'"),
    "PUBACK": (5, '40 .. 0001 10 [1f "r"]'),
    "PUBREL": (4, "62 02 0001"),
    "SUBSCRIBE": (5, '82 .. 0001 [0b 05] "a/+" 01'),
    "UNSUBSCRIBE": (5, 'a2 .. 0001 [] "a/+"'),
    "DISCONNECT": (5, 'e0 .. 04 [1f "r"]'),
}


def ending(data: bytes, first: int) -> int:
    """The Reason Code of the one packet of 5.0 in `data`, a CONNACK or DISCONNECT; -1 where it is anything else."""
    at = 3 if first == 0x20 else 2
    if len(data) < at + 2 or data[0] != first or data[1] != len(data) - 2:
        return -1
    properties = data[at + 1 :]
    if properties[0] != len(properties) - 1 or (properties[0] and properties[1] != 0x1F):
        return -1
    return data[at]


def wrong(said: Said, payload: bytes, close: bytes, ended: bool) -> str:
    """Empty where exactly that was said."""
    problems = []
    if said.payload != payload:
        problems.append(f"{said.payload[:60].hex(' ')} instead of {payload[:60].hex(' ')}")
    if said.close != close:
        problems.append(f"Close {said.close.hex()} instead of {close.hex()}")
    if said.ended != ended:
        problems.append("the end" if said.ended else "no end")
    return ", ".join(problems)


def judge_first(broker: BrokerProcess, row: FirstBytes, door: str) -> str:
    with Stranger(broker, door) as stranger:
        stranger.say(row.data)
        said = stranger.listen()
    if row.reason:
        if ending(said.payload, 0x20) != row.reason:
            return f"{said.payload[:60].hex(' ')} instead of a CONNACK with 0x{row.reason:02X}"
        said = said._replace(payload=b"")
    return wrong(said, row.answer, POLICY if door in WEBSOCKETS else NO_CLOSE, True)


def judge_packets(broker: BrokerProcess, row: Packets, version: int, door: str) -> str:
    answer = row.answers[version]
    with Stranger(broker, door) as stranger:
        stranger.greet(version)
        stranger.say(row.data[version])
        if not row.reason:
            stranger.say(b"\xc0\x00")
            return wrong(stranger.listen(len(answer) + 2), answer + b"\xd0\x00", NO_CLOSE, False)
        said = stranger.listen()
    if version == 5:
        if ending(said.payload[len(answer) :], 0xE0) != row.reason:
            return f"{said.payload[:60].hex(' ')} instead of a DISCONNECT with 0x{row.reason:02X}"
        said = said._replace(payload=said.payload[: len(answer)])
    return wrong(said, answer, POLICY if door in WEBSOCKETS else NO_CLOSE, True)


def judge_frames(broker: BrokerProcess, row: Frames, connected: bool) -> str:
    with Stranger(broker, "ws") as stranger:
        if connected:
            stranger.greet(5)
        stranger.throw(row.data)
        if not row.stays:
            return wrong(stranger.listen(), b"", row.answer, True)
        stranger.say(b"\xc0\x00" if connected else octets(CONNECTS[4]))
        last = b"\xd0\x00" if connected else b"\x20\x02\x00\x00"
        answer = taken_apart(row.answer)
        said = stranger.listen(len(answer.payload) + len(last))
    if said.control != answer.control:
        return f"{said.control[:60].hex(' ')} instead of {answer.control[:60].hex(' ')}"
    return wrong(said, answer.payload + last, NO_CLOSE, False)


def judge_head(broker: BrokerProcess, row: Head, listener: str) -> str:
    with Stranger(broker, listener, upgraded=False) as stranger:
        stranger.throw(row.data)
        if row.status == 101:
            head = stranger.head()
            if not head.startswith(b"HTTP/1.1 101 "):
                return f"{head[:40]!r} instead of 101"
            if row.behind:
                return wrong(stranger.listen(), b"", row.behind, True)
            stranger.say(octets(CONNECTS[4]))
            return wrong(stranger.listen(4), b"\x20\x02\x00\x00", NO_CLOSE, False)
        bodiless = row.data.startswith(b"HEAD ")
        said = stranger.listen_to_answer(bodiless)
        stranger.leave()  # a connection that goes on is closed when its Client says no more
        more = stranger.listen().payload
    behind = tuple(int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", more))
    if behind != row.then:
        return f"{behind} behind the first answer instead of {row.then}"
    return wrong_response(said, bodiless, row.status)


def wrong_response(said: bytes, bodiless: bool, wanted: int) -> str:
    """One whole response with that status, which forbids the browser to guess; what was not understood is closed."""
    head, _, body = said.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    status = int(match[1]) if match else 0
    if status != wanted:
        return f"{said[:60]!r} instead of {wanted}"
    fields: dict[bytes, bytes] = {}
    for name, value in (line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]):
        fields[name] = fields[name] + b", " + value if name in fields else value
    size = 0 if bodiless else int(fields[b"content-length"])
    if len(body) != size:
        return f"a body of {len(body)} bytes instead of {size}"
    given = (fields[b"cache-control"], fields[b"x-content-type-options"])
    if given != (b"no-store", b"nosniff") or b"'none'" not in fields[b"content-security-policy"]:
        return f"headers {fields}"
    connection = fields.get(b"connection", b"")
    return "" if b"close" in connection or status in (200, 404, 405, 426) else f"Connection: {connection!r}"


def judge_truncated(broker: BrokerProcess, version: int, data: bytes, door: str) -> str:
    with Stranger(broker, door) as stranger:
        if version:
            stranger.greet(version)
        stranger.say(data)
        stranger.leave()
        return wrong(stranger.listen(), b"", NORMAL if door == "ws" else NO_CLOSE, True)


def judge_tls(broker: BrokerProcess, row: table_tls.Start, door: str) -> str:
    with Stranger(broker, door, clear=True, upgraded=False) as stranger:
        stranger.throw(row.data)
        stranger.leave()
        said = stranger.listen().payload
    alert = said[6] if len(said) == 7 and said[0] == 21 and said[3:6] == b"\x00\x02\x02" else -1
    right = alert == row.alert if row.alert > 0 else not said or (alert > 0 and not row.alert)
    return "" if right else f"{said[:60].hex(' ')} instead of alert {row.alert}"


def judge_within_tls(broker: BrokerProcess, row: table_tls.Within, door: str) -> str:
    with Stranger(broker, door) as stranger:
        stranger.greet(5)
        stranger.throw_beside(row.data, row.leaves)
        try:
            said = stranger.listen()
        except ssl.SSLEOFError:  # an end without a goodbye
            return f"the end instead of {row.alert}" if row.alert else ""
        except ssl.SSLError as error:
            given = str(error.reason).removeprefix("TLSV1_ALERT_").removeprefix("SSLV3_ALERT_")
            return "" if given == row.alert else f"{error.reason} instead of {row.alert or 'the end'}"
    if row.alert:
        return f"{said} instead of {row.alert}"
    return wrong(said, b"", NORMAL if door in WEBSOCKETS else NO_CLOSE, True)


def judge_renegotiation(broker: BrokerProcess, door: str) -> str:
    """In TLS 1.2 a Client may ask for another handshake at any time, which costs it nothing: it is told no."""
    with Stranger(broker, door, clear=True, upgraded=False) as stranger:
        client = SSL.Connection(SSL.Context(SSL.TLSv1_2_METHOD), stranger.socket)
        stranger.socket.settimeout(None)
        client.set_connect_state()
        client.do_handshake()
        client.renegotiate()
        try:
            client.do_handshake()
            client.recv(1)
        except SSL.Error as error:
            return "" if "no renegotiation" in str(error) else str(error)
    return f"{client.total_renegotiations()} renegotiations"


def judge_other_protocol(broker: BrokerProcess, door: str) -> str:
    """RFC 7301 section 3.2 asks for an alert where ALPN names other protocols alone. Python's ssl module agrees on none
    and goes on; then MQTT or HTTP it must be, whatever the name was."""
    context = authority().trusting()
    context.set_alpn_protocols(["smtp", "h2"])
    with Stranger(broker, door, clear=True, upgraded=False) as stranger:
        stranger.socket = secured = context.wrap_socket(stranger.socket, server_hostname="localhost")
        agreed = secured.selected_alpn_protocol()
        stranger.throw(b"EHLO localhost\r\n\r\n")
        said = stranger.listen()
    if agreed is not None:
        return f"{agreed} is agreed on"
    return wrong_response(said.payload, False, 400) if door == "wss" else wrong(said, b"", NO_CLOSE, True)


def judge_proxy(broker: BrokerProcess, row: Header, door: str) -> str:
    """At a listener with the PROXY protocol; `untrusting` ones trust another network than that of these peers."""
    with Stranger(broker, door, clear=True, upgraded=False) as stranger:
        stranger.throw(row.data)
        if row.leaves:
            stranger.leave()
        elif row.good and door in PROXIED:
            stranger.enter(PROXIED[door])
            stranger.greet(5)
            stranger.say(b"\xc0\x00")
            return wrong(stranger.listen(2), b"\xd0\x00", NO_CLOSE, False)
        else:
            stranger.throw(octets(CONNECTS[5]))
        return wrong(stranger.listen(), b"", NO_CLOSE, True)


def trials(broker: BrokerProcess) -> Iterator[tuple[str, Callable[[], str]]]:
    """The matrix: every input, at every door and in every version where it makes sense."""
    for head in table_http.TABLE:
        for listener in head.listeners:
            yield f"{head.name}, {listener}", partial(judge_head, broker, head, listener)
    for row in table_frames.TABLE:
        if row.fresh:
            yield f"{row.name}, fresh", partial(judge_frames, broker, row, False)
        if row.connected:
            yield f"{row.name}, connected", partial(judge_frames, broker, row, True)
    for door in DOORS:
        for start in table_first.TABLE:
            yield f"{start.name}, {door}", partial(judge_first, broker, start, door)
        for packets in table_packets.TABLE:
            for version in packets.data:
                yield f"{packets.name}, {door}, {version}", partial(judge_packets, broker, packets, version, door)
        for name, (version, notation) in TRUNCATED.items():
            whole = octets(notation)
            for at in range(1, len(whole)):
                yield f"{name} cut after {at}, {door}", partial(judge_truncated, broker, version, whole[:at], door)
    for door in SECURE:
        for handshake in table_tls.TABLE:
            yield f"{handshake.name}, {door}", partial(judge_tls, broker, handshake, door)
        for start in table_first.TABLE:
            yield f"{start.name}, {door}", partial(judge_first, broker, start, door)
        for within in table_tls.WITHIN:
            yield f"{within.name}, within {door}", partial(judge_within_tls, broker, within, door)
        yield f"another protocol by ALPN, {door}", partial(judge_other_protocol, broker, door)
        yield f"renegotiation, {door}", partial(judge_renegotiation, broker, door)
    for packets in table_packets.TABLE:
        yield f"{packets.name}, mqtts", partial(judge_packets, broker, packets, max(packets.data), "mqtts")
    for head in table_http.TABLE:
        yield f"{head.name}, wss", partial(judge_head, broker, head, "wss")
    for door in (*PROXIED, *UNTRUSTING):
        for header in table_proxy.TABLE:
            yield f"{header.name}, {door}", partial(judge_proxy, broker, header, door)


def judged(trial: tuple[str, Callable[[], str]]) -> str:
    """Empty where the answer was right."""
    name, judge = trial
    try:
        fault = judge()
    except (AssertionError, OSError) as error:
        fault = f"{type(error).__name__}: {error}"
    return f"{name}: {fault}" if fault else ""


def proxied_listeners(certificate: Path, key: Path) -> str:
    """Their part of the configuration: each kind on an address of its own, by which it is found again."""
    lines: list[str] = []
    for host, kind in HOSTS.items():
        for door, listener in (PROXIED | UNTRUSTING).items():
            if kind and door.startswith(kind):
                lines += ["[[listeners]]", f'type = "{SECURE.get(listener, listener)}"', f'host = "{host}"', "port = 0"]
                lines += ["allow_anonymous = true", "proxy_protocol = true", f'trusted_proxies = ["{NETWORKS[kind]}"]']
                if listener in SECURE:
                    lines += ["[listeners.tls]", f'certificate = "{certificate}"', f'key = "{key}"']
    return "\n".join(lines)


def find_listeners(broker: BrokerProcess, wanted: Iterable[str]) -> None:
    """Give `broker.addresses` every listener under its own name."""
    broker.addresses.clear()
    deadline = time.monotonic() + PATIENCE
    while set(broker.addresses) != set(wanted):
        assert time.monotonic() < deadline
        for record in broker.records():
            if record["message"] == "listening":
                url = urlsplit(record["url"])
                kind = url.scheme if url.scheme in SECURE else record["type"]
                broker.addresses[HOSTS[str(url.hostname)] + kind] = (url.hostname, url.port)


def test_every_hostile_input_gets_its_answer(tmp_path: Path) -> None:
    certificate = (authority().certificate, authority().key)
    doors = ("tcp", "ws", "auto", *SECURE)
    more = proxied_listeners(*certificate)
    with running(tmp_path, doors, more, certificate, handshake_timeout=20) as broker:
        find_listeners(broker, (*doors, *PROXIED, *UNTRUSTING))
        withstand(broker)


def withstand(broker: BrokerProcess) -> None:
    """All trials, and a part of them once more."""
    with GoodPair(broker) as pair:
        pair.exchange()
        descriptors = broker.descriptors()
        memory = broker.memory()
        faults: list[str] = []
        waiting = list(trials(broker))
        for round_, most in ((waiting, WARMTH), (waiting[::8], GROWTH)):
            with ThreadPoolExecutor(AT_ONCE) as strangers:
                for at in range(0, len(round_), AT_ONCE):
                    now = [strangers.submit(judged, trial) for trial in round_[at : at + AT_ONCE]]
                    pair.exchange()
                    faults += [future.result() for future in now if future.result()]
            if faults:
                pytest.fail("\n".join(faults), pytrace=False)
            pair.exchange()
            assert broker.settled(descriptors) <= descriptors
            assert broker.memory() - memory < most
            memory = broker.memory()


def test_the_table_is_large_and_says_why() -> None:
    rows: list[FirstBytes | Packets | Frames | Head | table_tls.Start | table_tls.Within | Header] = list(
        chain(table_first.TABLE, table_packets.TABLE, table_frames.TABLE, table_http.TABLE, table_proxy.TABLE)
    )
    rows += [*table_tls.TABLE, *table_tls.WITHIN]
    inputs = {(type(row).__name__, str(row.data)) for row in rows}
    names = {(type(row).__name__, row.name) for row in rows}
    assert len(inputs) == len(names) == len(rows)
    assert len(rows) >= 200
    assert all(len(row.because) > 2 for row in rows)
