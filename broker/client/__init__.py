"""A Trio MQTT client: 3.1, 3.1.1 and 5.0 over TCP, WebSocket, TLS, Unix sockets and any Trio stream.

async with connect("mqtt://127.0.0.1:1883") as client:
    await client.publish("kitchen/temperature", "21.5", qos=1)
    async for message in client.subscribe("kitchen/#"):
        print(message.topic, message.payload)
"""

from broker.client.backoff import Backoff
from broker.client.client import Client, Publishing, connect
from broker.client.errors import (
    CannotConnect,
    ClientError,
    ConnectRefused,
    Disconnected,
    PublishRefused,
    SubscribeRefused,
)
from broker.client.message import Acknowledgement, Message, Will
from broker.client.messages import Messages
from broker.client.tls import Tls
from broker.client.url import Endpoint, parse

__all__ = [
    "Acknowledgement",
    "Backoff",
    "CannotConnect",
    "Client",
    "ClientError",
    "ConnectRefused",
    "Disconnected",
    "Endpoint",
    "Message",
    "Messages",
    "PublishRefused",
    "Publishing",
    "SubscribeRefused",
    "Tls",
    "Will",
    "connect",
    "parse",
]
