"""`connect`, and the `Client` that it gives.

One task keeps the Client connected: it opens a Network Connection, reads from it, and begins anew after a pause when it
is lost (`reconnect`). A second one writes. Both live in the nursery of `async with connect(...)`, and nothing is left
of them when the block is left: in order with a DISCONNECT, which is tried even when the block was cancelled, so that a
stopped program does not look like a dead device.

An application that waits is told how it ended by the return value or by a `ClientError`; while the Client is
reconnecting it goes on waiting.
"""

from __future__ import annotations

import secrets
from copy import copy
from typing import TYPE_CHECKING, Final

import trio

from broker.client.backoff import Backoff
from broker.client.errors import CannotConnect
from broker.client.keeper import Keeper
from broker.client.message import Acknowledgement, Message, Payload, Will, message_expiry, payload_bytes
from broker.client.messages import Messages
from broker.client.protocol import Protocol, Settings, Unsubscription
from broker.client.publications import Publication
from broker.client.subscriptions import Subscription
from broker.client.tls import as_tls, secure
from broker.client.transport import Wire, connect_stream, upgrade
from broker.client.url import parse
from broker.packets.encode import publish_parts
from broker.packets.properties import forwarded_properties
from broker.packets.topics import SHARE_PREFIX, valid_topic_filter, valid_topic_name
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Connack, Properties, SubscriptionRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from broker.client.tls import Tls
    from broker.packets.reasons import ReasonCode

RECONNECT_SESSION_EXPIRY: Final = 300  # seconds that the Server keeps the Session of a Client that means to come back

VERSIONS: Final = {"3.1": MQTT_3_1, "3.1.1": MQTT_3_1_1, "5.0": MQTT_5_0}


class Client:
    """An MQTT Client; made by `connect`. Its methods may be called by any number of tasks at once."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._protocol = keeper.protocol

    # -- what is known

    @property
    def connected(self) -> bool:
        """Whether there is a Network Connection with its CONNACK at this moment."""
        return self._protocol.connected

    @property
    def connack(self) -> Connack | None:
        """The last CONNACK: what the Server announced; None before the first."""
        return self._protocol.connack

    @property
    def client_identifier(self) -> str:
        """Ours, or the one that the Server assigned."""
        return self._protocol.client_identifier

    @property
    def version(self) -> int:
        """The Protocol Version: 3 is 3.1, 4 is 3.1.1, 5 is 5.0."""
        return self._protocol.version

    @property
    def held(self) -> int:
        """Messages of a resumed Session that match no iterator. They wait, unacknowledged, for one that claims them;
        `unsubscribe` gives them up."""
        return self._protocol.subscriptions.held

    async def wait_connected(self) -> None:
        """Return once connected; raise what `publish` would raise when that will not be."""
        await trio.lowlevel.checkpoint()
        await self._keeper.connected()

    # -- publishing

    async def publish(
        self,
        topic: str,
        payload: Payload = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> Acknowledgement:
        """Publish a message; text is sent as UTF-8. Returns when it is acknowledged: with PUBACK at QoS 1, with PUBCOMP
        at QoS 2, and at QoS 0 when it was handed to the socket.

        `properties` (5.0) are those of a PUBLISH but Subscription Identifiers; with a Topic Alias the Topic Name is
        left out where the Server knows it by that alias. PublishRefused for a Reason Code of 0x80 and above,
        Disconnected when there will be no Network Connection, ValueError for what cannot be sent. While disconnected it
        waits, and at QoS 1 and 2 it outlives a Network Connection. If it is cancelled a message that was sent goes its
        way, and one that was not is forgotten.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.publish_nowait(topic, payload, qos, retain, properties).acknowledged()

    def publish_nowait(
        self,
        topic: str,
        payload: Payload = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> Publishing:
        """`publish` without waiting. Messages leave in the order of these calls, so that many can be on their way at
        once; how many wait here for the Server's Receive Maximum is for the caller to bound."""
        if not valid_topic_name(topic):
            raise ValueError(f"not a Topic Name: {topic[:80]!r}")
        if qos not in (0, 1, 2):
            raise ValueError(f"QoS {qos}")
        forwarded, expiry, alias = b"", -1, 0
        if properties is not None:
            self._check_version("properties")
            if properties.topic_alias == 0 or properties.subscription_identifiers:  # [MQTT-3.3.2-8] [MQTT-3.3.4-6]
                raise ValueError("a Topic Alias of 0 and Subscription Identifiers are not for a Client to send")
            forwarded, expiry = forwarded_properties(properties), message_expiry(properties)
            alias = properties.topic_alias or 0
        data = payload_bytes(payload)
        head, tail = publish_parts(topic.encode(), data, qos, retain, False, self.version, forwarded, expiry, alias)
        publication = Publication(head, tail, qos, retain)
        if alias:
            publication.topic, publication.topic_alias = topic, alias
            publication.bare_head = publish_parts(
                b"", data, qos, retain, False, self.version, forwarded, expiry, alias
            )[0]
        self._keeper.check()
        self._protocol.publish(publication)
        self._keeper.wake()
        return Publishing(self._keeper, publication)

    # -- subscribing

    def subscribe(
        self,
        *topic_filters: str,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        buffer: int = 256,
        unsubscribe: bool = True,
        user_properties: Sequence[tuple[str, str]] = (),
        partly: bool = False,
    ) -> Messages:
        """The messages that match any of `topic_filters`, as an asynchronous iterator: see `Messages`.

        `qos` is the highest at which they are wanted; the next three options are of 5.0 (section 3.8.3.1). `buffer`
        messages may wait; while one buffer is full nothing is read, so that the slowest iterator sets the pace of all.
        `unsubscribe=False` leaves the subscription in the Session when the iterator is left. `user_properties` (5.0)
        are those of the SUBSCRIBE, whenever it is sent. With `partly` it is enough that the Server grants one of the
        Topic Filters: see `Messages.refused`. ValueError for what cannot be sent.
        """
        for topic_filter in topic_filters:
            if not valid_topic_filter(topic_filter):
                raise ValueError(f"not a Topic Filter: {topic_filter[:80]!r}")
            if no_local and topic_filter.startswith(SHARE_PREFIX):  # [MQTT-3.8.3-4]
                raise ValueError("no_local is not for a Shared Subscription")
        if not topic_filters or qos not in (0, 1, 2) or retain_handling not in (0, 1, 2) or buffer < 1:
            raise ValueError("wanted: a Topic Filter, qos and retain_handling of 0, 1 or 2, a buffer of 1 or more")
        if no_local or retain_as_published or retain_handling or user_properties:
            self._check_version("no_local, retain_as_published, retain_handling and user_properties")
        requests = [
            SubscriptionRequest(topic_filter, qos, no_local, retain_as_published, retain_handling)
            for topic_filter in topic_filters
        ]
        subscription = Subscription(requests, buffer, user_properties, partly)
        self._protocol.subscribe_packet(1, subscription)  # raises for what cannot be sent
        return Messages(self._keeper, subscription, unsubscribe)

    async def unsubscribe(self, *topic_filters: str) -> dict[str, ReasonCode]:
        """End subscriptions that the Session has from an earlier run; the Reason Codes, which 3.x does not have.

        The subscription of an iterator ends with the iterator.
        """
        for topic_filter in topic_filters:
            if not valid_topic_filter(topic_filter):
                raise ValueError(f"not a Topic Filter: {topic_filter[:80]!r}")
        if not topic_filters:
            raise ValueError("wanted: a Topic Filter")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._keeper.check()
        unsubscription = Unsubscription(list(topic_filters))
        self._protocol.unsubscribe(unsubscription)
        await self._keeper.settled(unsubscription)
        return unsubscription.reasons

    async def request(
        self,
        topic: str,
        payload: Payload = b"",
        qos: int = 1,
        properties: Properties | None = None,
    ) -> Message:
        """Publish a request (5.0, section 4.10) and return the message that answers it.

        The Response Topic is one of our own, below the Server's Response Information where it gave one. It waits for
        ever: give it a limit with `trio.fail_after`. Errors as those of `publish`.
        """
        self._check_version("request")
        await self.wait_connected()
        token = secrets.token_hex(8)
        asked = copy(properties) if properties is not None else Properties()
        connack = self._protocol.connack
        prefix = connack.properties.response_information if connack is not None else None
        asked.response_topic = f"{prefix or 'responses'}/{token}"
        asked.correlation_data = token.encode()
        async with self.subscribe(asked.response_topic, qos=qos) as answers:
            await self.publish(topic, payload, qos, properties=asked)
            with self._keeper.awaiting():
                while True:
                    answer = await answers.receive()
                    if answer.properties.correlation_data == asked.correlation_data:
                        return answer

    def _check_version(self, what: str) -> None:
        if self.version != MQTT_5_0:
            raise ValueError(f"{what}: of MQTT 5.0 only")


class Publishing:
    """A message on its way, from `Client.publish_nowait`."""

    def __init__(self, keeper: Keeper, publication: Publication) -> None:
        self._keeper = keeper
        self._publication = publication

    async def acknowledged(self) -> Acknowledgement:
        """Wait for what `Client.publish` returns or raises; once, in one task."""
        publication = self._publication
        try:
            await self._keeper.settled(publication, answered=publication.qos > 0)
        except trio.Cancelled:
            self._keeper.protocol.cancel(publication)
            raise
        return Acknowledgement(publication.reason, publication.properties)


class Connecting:
    """What `connect` gives: an asynchronous context manager for a `Client`."""

    def __init__(self, keeper: Keeper, wait: bool) -> None:
        self._keeper = keeper
        self._wait = wait
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Client:
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._keeper.run)
        if self._wait:
            try:
                await self._keeper.connected()
            except BaseException:
                await self._end()
                raise
        return Client(self._keeper)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._keeper.leave()
        await self._end()

    async def _end(self) -> None:
        # The nursery does not see what the block raised, so it arrives outside as it is and in no ExceptionGroup
        self._keeper.stop()
        await self._manager.__aexit__(None, None, None)


def connect(
    url: str = "",
    *,
    stream: trio.abc.Stream | Callable[[], Awaitable[trio.abc.Stream]] | None = None,
    tls: Tls | ssl.SSLContext | None = None,
    version: str = "5.0",
    client_identifier: str = "",
    clean_start: bool = True,
    session_expiry_interval: int | None = None,
    keep_alive: int = 60,
    user_name: str | None = None,
    password: str | bytes | None = None,
    will: Will | None = None,
    reconnect: Backoff | bool = True,
    wait: bool = True,
    connect_timeout: float = 10.0,
    ping_timeout: float = 10.0,
    receive_maximum: int = 256,
    maximum_packet_size: int = 16 * 1024 * 1024,
    topic_alias_maximum: int = 64,
    request_response_information: bool = False,
    request_problem_information: bool = True,
    user_properties: Sequence[tuple[str, str]] = (),
) -> Connecting:
    """Connect to a Server: `async with connect("mqtt://127.0.0.1:1883") as client:`.

    `url` is `mqtt://host:port`, `ws://host:port/path`, with TLS `mqtts://` or `wss://`, or `unix:/path`; a user name
    and a password may stand in it. `tls` says what to trust and to show, see `Tls`; without it the authorities that
    the system trusts. `stream` is used instead of a socket of our own: a Trio stream, or an asynchronous function that
    opens one and is called for every Network Connection. TLS and WebSocket are opened on it where the URL has them.

    `version` is "5.0", "3.1.1" or "3.1". `clean_start` asks for a new Session at the first Network Connection (3.x:
    Clean Session, at every one). `session_expiry_interval` is how many seconds the Session outlives a Network
    Connection (5.0); None keeps it for as long as reconnecting needs, and ends it on leaving.

    `reconnect` True or a `Backoff` connects again when the Network Connection is lost: what was not acknowledged is
    sent again, and subscriptions that the Server lost are renewed. It does not come back where the Server refused what
    we are or sent, by a Reason Code or, having none, by closing again and again behind the same SUBSCRIBE.

    With `wait` the block is entered when the Client is connected, and CannotConnect or ConnectRefused raised when the
    first attempt fails; without, at once, and the first attempt may fail like any other.

    Times are in seconds. `receive_maximum`, `maximum_packet_size` (bytes) and `topic_alias_maximum` are announced to a
    5.0 Server. `request_response_information` asks it for the topic below which `Client.request` has its answers, and
    without `request_problem_information` it leaves out Reason Strings. ValueError for what cannot be sent.
    """
    if version not in VERSIONS:
        raise ValueError(f"version {version!r} is none of {', '.join(VERSIONS)}")
    endpoint = parse(url) if url else None
    if endpoint is None and stream is None:
        raise ValueError("wanted: a URL or a stream")
    trust = as_tls(tls)
    context: ssl.SSLContext | None = None
    if endpoint is not None and endpoint.secure:
        context = trust.make_context(endpoint)
    elif tls is not None:
        raise ValueError("tls is for mqtts:// and wss://")
    backoff = (Backoff() if reconnect else None) if isinstance(reconnect, bool) else reconnect
    if isinstance(stream, trio.abc.Stream):
        backoff = None  # there is no second one

    settings = Settings()
    settings.version = VERSIONS[version]
    settings.client_identifier = client_identifier
    settings.clean_start = clean_start
    settings.keep_alive = keep_alive
    settings.user_name = user_name
    if endpoint is not None and user_name is None:
        settings.user_name = endpoint.user_name
        password = endpoint.password if password is None else password
    settings.password = password.encode() if isinstance(password, str) else password
    settings.will = will.packet() if will is not None else None
    settings.session_expiry_interval = session_expiry_interval or 0
    if session_expiry_interval is None and backoff is not None:
        settings.session_expiry_interval = RECONNECT_SESSION_EXPIRY
        settings.end_session = True
    settings.connect_timeout = connect_timeout
    settings.ping_timeout = ping_timeout
    settings.receive_maximum = receive_maximum
    settings.maximum_packet_size = maximum_packet_size
    settings.topic_alias_maximum = topic_alias_maximum
    settings.request_response_information = request_response_information
    settings.request_problem_information = request_problem_information
    settings.user_properties = list(user_properties)
    if not client_identifier:
        if settings.version == MQTT_3_1:
            settings.client_identifier = f"triomq-{secrets.token_hex(8)}"  # 3.1 demands one, of 1 to 23 characters
        elif settings.version == MQTT_3_1_1 and not clean_start:  # [MQTT-3.1.3-7] of 3.1.1
            raise ValueError("a Session that is to be found again needs a client_identifier")
    if not 0 <= keep_alive <= 65_535:
        raise ValueError("keep_alive is from 0 to 65,535 seconds")
    protocol = Protocol(settings)
    protocol.connect_packet()  # raises for what cannot be sent

    async def open_wire() -> Wire:
        opened: trio.abc.Stream
        try:
            if isinstance(stream, trio.abc.Stream):
                opened = stream
            elif stream is not None:
                opened = await stream()
            else:
                assert endpoint is not None
                opened = await connect_stream(endpoint, context, trust.server_name)
        except OSError as error:
            raise CannotConnect(f"{endpoint or 'stream'}: {error}") from error
        if stream is not None and endpoint is not None and context is not None:
            opened = await secure(opened, endpoint, context, trust.server_name)
        if endpoint is None or not endpoint.websocket:
            return Wire(opened)
        try:
            return await upgrade(opened, endpoint, settings.version)
        except BaseException:
            await trio.aclose_forcefully(opened)
            raise

    return Connecting(Keeper(protocol, open_wire, backoff, patient=not wait), wait)
