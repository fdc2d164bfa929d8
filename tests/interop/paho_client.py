"""paho-mqtt as a blocking peer: what these tests ask of a client, on its network thread."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from types import TracebackType

    from paho.mqtt.subscribeoptions import SubscribeOptions

    from tests.interop.brokers import Door

SECONDS = 30.0


def properties(packet: str, **values: object) -> Properties:
    """Return the MQTT 5.0 properties `values` for a packet named as in `PacketTypes`."""
    result = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]  # paho leaves it out
    for name, value in values.items():
        setattr(result, name, value)
    return result


class PahoClient:
    """A connection of paho-mqtt; every call waits for the broker's answer and raises `queue.Empty` without one."""

    def __init__(
        self,
        door: Door,
        version: int = paho.MQTTv5,
        client_id: str = "",
        *,
        clean: bool = True,
        will: tuple[str, bytes, int, bool] | None = None,
        session_expiry: int = 0,
        keepalive: int = 60,
    ) -> None:
        self._door = door
        self._version = version
        self._clean = clean
        self._session_expiry = session_expiry
        self._keepalive = keepalive
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._connected: queue.Queue[tuple[Any, Any, Any]] = queue.Queue()
        self._disconnected: queue.Queue[Any] = queue.Queue()
        self._subscribed: queue.Queue[list[Any]] = queue.Queue()
        self._unsubscribed: queue.Queue[list[Any]] = queue.Queue()
        self._published: queue.Queue[tuple[int, Any]] = queue.Queue()
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if version == paho.MQTTv5 else clean,
            protocol=MQTTProtocolVersion(version),
            transport=door.transport,
        )
        if door.path:
            client.ws_set_options(path=door.path)
        if will is not None:
            client.will_set(*will)
        client.on_connect = lambda client, userdata, flags, reason, props: self._connected.put((flags, reason, props))
        client.on_disconnect = lambda client, userdata, flags, reason, props: self._disconnected.put(reason)
        client.on_message = lambda client, userdata, message: self.messages.put(message)
        client.on_subscribe = lambda client, userdata, mid, reasons, props: self._subscribed.put(reasons)
        client.on_unsubscribe = lambda client, userdata, mid, reasons, props: self._unsubscribed.put(reasons)
        client.on_publish = lambda client, userdata, mid, reason, props: self._published.put((mid, reason))
        self._client = client

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Connect and wait for CONNACK, which then stands in `session_present`, `reason` and `connack`."""
        options: dict[str, Any] = {}
        if self._version == paho.MQTTv5:
            options["clean_start"] = self._clean
            options["properties"] = properties("CONNECT", SessionExpiryInterval=self._session_expiry)
        self._client.connect(self._door.host, self._door.port, self._keepalive, **options)
        self._client.loop_start()
        flags, self.reason, self.connack = self._connected.get(timeout=SECONDS)
        self.session_present = bool(flags.session_present)

    def disconnect(self) -> None:
        self._client.disconnect()
        self._close()

    def vanish(self) -> None:
        """Lose the Network Connection without a DISCONNECT."""
        self._client.loop_stop()
        lost = self._client.socket()
        assert lost is not None
        lost.close()
        self._close()

    def wait_disconnected(self) -> Any:
        """Wait until the broker has ended the connection; return the reason that paho tells."""
        reason = self._disconnected.get(timeout=SECONDS)
        self._close()
        return reason

    def _close(self) -> None:
        """End the thread; `reinitialise` closes the sockets that paho would leave to the garbage collector."""
        self._client.loop_stop()
        self._client.reinitialise()

    def subscribe(self, topic_filter: str, qos: int = 0, options: SubscribeOptions | None = None, **props: Any) -> int:
        """Subscribe and return the Reason Code of SUBACK."""
        if self._version == paho.MQTTv5:
            extra = properties("SUBSCRIBE", **props) if props else None
            self._client.subscribe(topic_filter, qos, options=options, properties=extra)
        else:
            self._client.subscribe(topic_filter, qos)
        (reason,) = self._subscribed.get(timeout=SECONDS)
        return int(reason.value)

    def unsubscribe(self, topic_filter: str) -> None:
        self._client.unsubscribe(topic_filter)
        self._unsubscribed.get(timeout=SECONDS)

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **props: Any) -> int:
        """Publish, wait until the exchange is over, and return the Reason Code of its acknowledgement."""
        extra = properties("PUBLISH", **props) if props else None
        sent = self._client.publish(topic, payload, qos, retain, extra)
        while True:
            mid, reason = self._published.get(timeout=SECONDS)
            if mid == sent.mid:
                return int(reason.value)

    def receive(self) -> paho.MQTTMessage:
        """Return the next message, waiting for it."""
        return self.messages.get(timeout=SECONDS)
