"""A shared subscription loses no message of QoS 1 as long as it has a member, and gives none to two members at once.

Members are lost and come back, end their Sessions, leave the group and join it again, with messages sent, queued and
unacknowledged. One member never ends its Session, so that there is always somebody to go to.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import Limits, ServerLimits
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import Puback, Publish
from tests.pair import Client, Pair
from tests.statements import statement

FILTER = "$share/group/a/+"
MEMBERS = 3


class Member:
    """`received` holds each payload once for each first delivery (DUP 0)."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.pair = pair
        self.name = name
        self.client: Client | None = None
        self.received: list[bytes] = []
        self.acknowledgements: list[int] = []
        self.connect(clean_start=True)
        self.join()

    def connect(self, clean_start: bool) -> None:
        if self.client is None:
            self.client = self.pair.connected(
                self.name, clean_start=clean_start, session_expiry_interval=1000, receive_maximum=2
            )

    def join(self) -> None:
        if self.client is not None:
            self.read()
            self.client.subscribe(FILTER, qos=1)

    def leave_group(self) -> None:
        if self.client is not None:
            self.read()
            self.client.unsubscribe(FILTER)

    def read(self) -> int:
        """Read all that has come; how many messages there were."""
        count = 0
        while self.client is not None and (data := self.client.next()) is not None:
            (packet,) = Decoder(DecoderLimits(), 5, server=False).feed(data)
            assert isinstance(packet, Publish)
            count += 1
            if not packet.dup or packet.payload not in self.received:
                self.received.append(packet.payload)
            self.acknowledgements.append(packet.packet_identifier)
        return count

    def acknowledge(self, most: int) -> int:
        due, self.acknowledgements = self.acknowledgements[:most], self.acknowledgements[most:]
        for identifier in due:
            assert self.client is not None
            self.client.send(Puback(identifier))
        return len(due)

    def lose(self) -> None:
        """What was under way and had not been read is sent again, to this member or to another."""
        if self.client is not None:
            self.client.drop()
            self.client = None
            self.acknowledgements.clear()

    def end_session(self) -> None:
        self.lose()
        self.connect(clean_start=True)


members = st.integers(0, MEMBERS - 1)
enders = st.integers(1, MEMBERS - 1)
steps = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 4)),
    st.tuples(st.just("read"), members),
    st.tuples(st.just("acknowledge"), members, st.integers(1, 3)),
    st.tuples(st.just("lose"), members),
    st.tuples(st.just("come back"), members),
    st.tuples(st.just("end"), enders),
    st.tuples(st.just("join"), members),
    st.tuples(st.just("leave"), enders),
    st.tuples(st.just("wait"), st.integers(1, 1500)),
)


@statement("MQTT5-4.8.2-3", "MQTT5-4.5.0-1")
@settings(max_examples=150, deadline=None, database=None)
@given(history=st.lists(steps, max_size=50))
def test_a_group_loses_nothing(history: list[tuple[object, ...]]) -> None:
    limits = Limits()
    limits.server_keep_alive_maximum = 0
    server_limits = ServerLimits()
    server_limits.sys_interval = 0.0
    pair = Pair(limits, server_limits)
    publisher = pair.connected("publisher")
    group = [Member(pair, f"m{number}") for number in range(MEMBERS)]
    published: list[bytes] = []
    interrupted = False
    for step in history:
        match step:
            case ("publish", int(count)):
                for _ in range(count):
                    published.append(b"%d" % len(published))
                    assert publisher.publish("a/x", published[-1], qos=1) == 0
            case ("read", int(which)):
                group[which].read()
            case ("acknowledge", int(which), int(most)):
                group[which].acknowledge(most)
            case ("lose", int(which)):
                group[which].lose()
            case ("come back", int(which)):
                group[which].connect(clean_start=False)
            case ("end", int(which)):
                interrupted = True
                group[which].end_session()
            case ("join", int(which)):
                group[which].join()
            case ("leave", int(which)):
                group[which].leave_group()
            case ("wait", int(seconds)):
                if group[0].client is not None:
                    interrupted = interrupted or seconds >= 1000
                    pair.advance(seconds)
    for member in group:
        member.connect(clean_start=False)
    while sum(member.read() + member.acknowledge(1000) for member in group):
        pass
    seen = Counter(payload for member in group for payload in member.received)
    assert set(seen) == set(published), "lost"
    if not interrupted:
        assert set(seen.values()) <= {1}, "given to two members"
