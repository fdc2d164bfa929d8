"""One run of one check: the Network Connections that it opens, the time that it has, and what it must clean up.

Nothing is left on a foreign Server. What may stay behind is written down before it is made: a topic with a retained
message, a Session that outlives its Network Connection. `clean` takes it away however the run ended, Ctrl-C included;
and to 5.0 Servers it is said to expire by itself, should even the probe's machine fail.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, NO_PROPERTIES, Connect, Properties, Will
from broker.probe.peer import Peer, refusal
from broker.probe.subject import Subject, open_stream
from broker.probe.verdict import Finding, Lacking, Skipped, Wrong, statement_for
from broker.websocket.client_handshake import HandshakeRefused

EXPIRY: Final = 120  # seconds after which a 5.0 Server forgets what we left
CLEAN_SECONDS: Final = 3.0
KEEP_ALIVE: Final = 60  # seconds; no check lasts so long
GRACE: Final = 0.25  # seconds in which what must not come would have come, as a rule
GRACES: Final = 20  # a check has time for so many


class Trial:
    """`deadline` is a time of Trio's clock, `patience` seconds from now. `grace` is for how many seconds one waits for
    what must not come. Checks say what they have to advise in `advice`."""

    def __init__(self, subject: Subject, name: str, patience: float) -> None:
        self.subject = subject
        self.name = name
        self.deadline = trio.current_time() + patience
        self.grace = min(GRACE, patience / GRACES)
        self.advice: list[str] = []
        self._peers: list[Peer] = []
        self._retained: dict[str, int] = {}  # topic -> the version that it was published with
        self._sessions: dict[str, int] = {}  # Client Identifier -> the version

    @property
    def version(self) -> int:
        """The best that the Server speaks."""
        return self.subject.versions[0]

    @property
    def remaining(self) -> float:
        """Seconds."""
        return self.deadline - trio.current_time()

    def topic(self, *levels: str) -> str:
        """A topic of this run's own."""
        return "/".join((self.subject.root, self.name, *levels))

    def wrong(self, seen: str, expected: str, *statements: str, advice: str = "") -> Wrong:
        """To be raised."""
        version = self.subject.versions[0] if self.subject.versions else MQTT_5_0
        return Wrong(seen, expected=expected, statement=statement_for(version, statements), advice=advice)

    def want_seconds(self, seconds: float) -> None:
        """`Skipped` where there is not so much time."""
        if self.remaining < seconds:
            raise Skipped(f"it takes {seconds:g} s", advice="Give it more time: --timeout.")

    def want_retained(self) -> None:
        if not self.subject.announced.retain_available:
            raise Skipped("the Server retains nothing")

    def want_qos(self, qos: int) -> None:
        """`Lacking` where the Server says that it takes less from us."""
        maximum = self.subject.announced.maximum_qos
        if qos > maximum:
            raise Lacking(f"the Server's Maximum QoS is {maximum}")

    # -- Network Connections

    async def open(self, version: int = 0) -> Peer:
        """A Network Connection without its CONNECT."""
        subject = self.subject
        with trio.CancelScope(deadline=self.deadline) as scope:
            try:
                opened = await open_stream(subject.endpoint, tls=subject.tls)
            except OSError as error:
                subject.gone = f"{subject.endpoint} can be reached no more: {_words(error)}"
                raise Wrong(
                    subject.gone, advice="The Server has ended, or bounds how many connections it takes."
                ) from error
            except HandshakeRefused as error:
                raise Wrong(f"the WebSocket is refused now: {error}") from error
        if scope.cancelled_caught:
            raise Wrong("no connection came about in time", expected="a connection, as the first one")
        peer = Peer(opened.stream, version or self.version, self.deadline, opened.frames, opened.received)
        self._peers.append(peer)
        return peer

    async def connect(
        self,
        version: int = 0,
        *,
        client_identifier: str | None = None,
        clean_start: bool = True,
        keep_alive: int = KEEP_ALIVE,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> Peer:
        """A Client that was accepted; `Lacking` when it is refused."""
        peer = await self.open(version)
        connack = await peer.connect(
            self.packet(
                peer.version,
                client_identifier=client_identifier,
                clean_start=clean_start,
                keep_alive=keep_alive,
                will=will,
                properties=properties,
            )
        )
        if connack.reason != ReasonCode.SUCCESS:
            raise Lacking(f"CONNECT is refused: {refusal(connack, peer.version)}")
        if clean_start and connack.session_present:
            seen = "Session Present 1 for a Client that wanted a new Session"
            raise peer.wrong(seen, "Session Present 0", "MQTT5-3.2.2-2", "MQTT311-3.2.2-1")
        return peer

    async def clients(self, *versions: int) -> list[Peer]:
        """So many Clients that were accepted, connected side by side; a version of 0 is the best."""
        found: dict[int, Peer] = {}
        findings: list[Finding] = []

        async def one(place: int, version: int) -> None:
            try:
                found[place] = await self.connect(version)
            except Finding as finding:
                findings.append(finding)

        async with trio.open_nursery() as nursery:
            for place, version in enumerate(versions):
                nursery.start_soon(one, place, version)
        if findings:
            raise findings[0]
        return [found[place] for place in range(len(versions))]

    def packet(
        self,
        version: int,
        *,
        client_identifier: str | None = None,
        clean_start: bool = True,
        keep_alive: int = KEEP_ALIVE,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
        anonymous: bool = False,
    ) -> Connect:
        """A CONNECT with the credentials that were given."""
        identifier = self.subject.client_identifier() if client_identifier is None else client_identifier
        user_name, password = (None, None) if anonymous else (self.subject.user_name, self.subject.password)
        return Connect(identifier, version, clean_start, keep_alive, user_name, password, will, properties)

    async def durable(self, client_identifier: str, version: int = 0) -> Peer:
        """A Client whose Session is resumed or made, and outlives its Network Connection."""
        version = version or self.version
        self._sessions[client_identifier] = version
        properties = NO_PROPERTIES
        if version == MQTT_5_0:
            properties = Properties()
            properties.session_expiry_interval = EXPIRY
        return await self.connect(
            version, client_identifier=client_identifier, clean_start=False, properties=properties
        )

    # -- messages that stay

    async def retain(self, peer: Peer, topic: str, payload: bytes, qos: int = 1) -> None:
        """Publish a retained message, which `clean` takes away."""
        self._retained[topic] = peer.version
        interval = EXPIRY if peer.version == MQTT_5_0 else -1
        await peer.publish(topic, payload, self.qos(qos), retain=True, message_expiry_interval=interval)

    def qos(self, wanted: int) -> int:
        """`wanted`, or as much of it as the Server takes from us."""
        return min(wanted, self.subject.announced.maximum_qos)

    # -- the end

    async def clean(self) -> None:
        """Leave in order, end Sessions, clear retained messages. Is not cancelled from outside; takes a few seconds at
        most. What could not be taken away is told in `Subject.left`."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for peer in self._peers:
                    nursery.start_soon(peer.leave)
            self._peers.clear()
            if not self._retained and not self._sessions:
                return
            with trio.move_on_after(CLEAN_SECONDS):
                self.deadline = trio.current_time() + CLEAN_SECONDS
                with contextlib.suppress(Finding):  # what is left is told below
                    await self._take_away()
            self.subject.left += [f"the retained message on {topic}" for topic in self._retained]
            self.subject.left += [f"the Session of {identifier}" for identifier in self._sessions]
            async with trio.open_nursery() as nursery:
                for peer in self._peers:
                    nursery.start_soon(peer.leave)

    async def _take_away(self) -> None:
        for identifier, version in list(self._sessions.items()):
            await self.connect(version, client_identifier=identifier)
            del self._sessions[identifier]
        if self._retained:
            peer = await self.connect()
            for topic in list(self._retained):
                await peer.publish(topic, b"", self.qos(1), retain=True)
                if not self.qos(1):
                    await peer.ping()  # an answer to it is one behind the message
                del self._retained[topic]


def _words(error: OSError) -> str:
    """What the operating system said, which Trio tells as the cause of its own error."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    code = cause.errno if isinstance(cause, OSError) else error.errno
    return os.strerror(code) if code else str(error)
