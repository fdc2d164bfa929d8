"""TLS for a Line: a socket of `ssl`'s, which a poller can watch like any other once the handshake is done.

A poller sees what waits in the socket and not what TLS has read ahead. There is nothing such: a read asks for more than
a record of TLS holds, and OpenSSL reads one record at a time.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import trio

from broker.client import CannotConnect
from broker.client.tls import explain, handshake_failed

if TYPE_CHECKING:
    from broker.client import Tls
    from broker.client.url import Endpoint

RECORD_BYTES = 16 * 1024
STALLED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # it is to be tried again later


class SecureStream(trio.abc.Stream):
    """The socket as a stream of Trio's, as long as tasks have it."""

    def __init__(self, secured: ssl.SSLSocket) -> None:
        self.socket = secured

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except STALLED as error:
                await _wait(self.socket, error)
            except OSError as error:
                raise trio.BrokenResourceError(explain(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            try:
                return self.socket.recv(max_bytes or RECORD_BYTES)
            except STALLED as error:
                await _wait(self.socket, error)
            except OSError as error:
                raise trio.BrokenResourceError(explain(error)) from error

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()


async def secure(stream: trio.SocketStream, endpoint: Endpoint, tls: Tls) -> SecureStream:
    """TLS over the socket of `stream`, the handshake done; CannotConnect, and nothing left open, where that fails."""
    plain = socket.socket(fileno=stream.socket.detach())
    try:
        plain.setblocking(False)
        secured = tls.make_context(endpoint).wrap_socket(
            plain, server_hostname=tls.server_name or endpoint.host, do_handshake_on_connect=False
        )
    except OSError as error:
        plain.close()
        raise CannotConnect(f"{endpoint}: {error}") from error
    try:
        while True:
            try:
                secured.do_handshake()
            except STALLED as error:
                await _wait(secured, error)
            else:
                return SecureStream(secured)
    except OSError as error:
        secured.close()
        raise CannotConnect(f"{endpoint}: {handshake_failed(error)}") from error
    except BaseException:
        secured.close()
        raise


async def _wait(secured: ssl.SSLSocket, error: OSError) -> None:
    if isinstance(error, ssl.SSLWantWriteError):
        await trio.lowlevel.wait_writable(secured)
    else:
        await trio.lowlevel.wait_readable(secured)
