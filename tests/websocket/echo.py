"""An echo server over the frame layer and the HTTP door of the broker: what the Autobahn suite speaks to.

The decoder runs with `messages=True`, so that text is allowed and each message comes back with its own opcode; the
rules it keeps are the ones that an MQTT door has.

    python -m tests.websocket.echo [--context-takeover] [port]
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from broker.websocket.frames import FrameDecoder, message_frame
from broker.websocket.handshake import READING, UPGRADED, HttpDoor

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM: Final = 32 * 1024 * 1024  # bytes; the largest message of the suite has 16 MiB
FRAGMENTS: Final = 1_000_000
PATHS: Final = ("/",)
TAKEOVER: Final = "--context-takeover"


async def echo(stream: trio.abc.Stream, compression: bool = True, takeover: bool = False) -> None:
    """Serve one Network Connection: the handshake, then every message back, until either side closes."""
    door = HttpDoor(paths=PATHS, subprotocols=(), origins=("*",), compression=compression, context_takeover=takeover)
    async with stream:
        while door.outcome == READING:
            data = await stream.receive_some()
            if not data:
                return
            door.feed(bytes(data))
        if door.outcome != UPGRADED:
            await stream.send_all(door.response or door.respond())
            return
        await stream.send_all(door.response)
        decoder = FrameDecoder(MAXIMUM, FRAGMENTS, messages=True)
        encode: Callable[[int, bytes], bytes] = message_frame
        if door.compression is not None:
            decoder.inflater = door.compression.inflater()
            encode = door.compression.deflater().message
        data = door.leftover
        while True:
            decoder.feed(bytes(data))
            while decoder.pending:
                decoder.more()
            echoes = b"".join(encode(opcode, payload) for opcode, payload in decoder.take_messages())
            replies = decoder.take_replies()
            # A Pong goes before the message whose fragments its Ping came between; a Close goes behind everything.
            output = echoes + replies if decoder.closed else replies + echoes
            if output:
                await stream.send_all(output)
            if decoder.closed:
                return
            data = await stream.receive_some()
            if not data:
                return


async def echo_unless_broken(takeover: bool, stream: trio.abc.Stream) -> None:
    """`echo`, to which a peer that vanishes is nothing special."""
    try:
        await echo(stream, takeover=takeover)
    except trio.BrokenResourceError:
        return


async def main(port: int, takeover: bool) -> None:
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(partial(echo_unless_broken, takeover), listeners)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != TAKEOVER]
    trio.run(main, int(arguments[0]) if arguments else 0, TAKEOVER in sys.argv)
