"""`broker sub -o`: what stdout gets for a message, when it is not said letter by letter with `-F`.

`raw`     the payload as it came; with `-v` the topic before it (what mosquitto_sub prints)
`hex`     the payload in hex
`json`    the payload as one line of JSON, whatever it was written in
`jsonl`   the message as one line of JSON, with the names of mosquitto_sub's `%j`
`pretty`  for people: time, topic, QoS and RETAIN, the payload indented
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from broker.cli.formats import as_object
from broker.cli.payloads import decode, legible, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cli.formats import Received
    from broker.cli.payloads import Value

OUTPUTS: Final = ("raw", "hex", "json", "jsonl", "pretty")


class Output:
    """Renders messages as bytes without an end of line; empty bytes mean that there is nothing to print."""

    def __init__(self, name: str = "raw", *, decoding: str = "auto", verbose: bool = False, colour: bool = False):
        self._render: Callable[[Received], bytes] = getattr(self, f"_{name}")
        self._decoding = decoding
        self._verbose = verbose
        self._colour = colour

    def __call__(self, message: Received) -> bytes:
        """Raises PayloadError where the payload is not what `decoding` says."""
        return self._render(message)

    def _raw(self, message: Received) -> bytes:
        return self._after_topic(message, message.payload)

    def _hex(self, message: Received) -> bytes:
        return self._after_topic(message, message.payload.hex().encode())

    def _json(self, message: Received) -> bytes:
        return self._after_topic(message, to_json(self._value(message)).encode())

    def _jsonl(self, message: Received) -> bytes:
        return to_json(as_object(message, self._value(message))).encode()

    def _pretty(self, message: Received) -> bytes:
        value = self._value(message)
        if value is None:
            text = "(empty)"
        elif isinstance(value, str):
            text = value
        else:
            text = to_json(value, indent=2)
        clock = time.strftime("%H:%M:%S", time.localtime(message.received_ns // 1_000_000_000))
        milliseconds = message.received_ns % 1_000_000_000 // 1_000_000
        marks = f"q{message.qos}" + (" retained" if message.retain else "")
        head = (
            f"{self._style(f'{clock}.{milliseconds:03d}', '2')} "
            f"{self._style(legible(message.topic), '1;36')} {self._style(marks, '2')}"
        )
        text = legible(text)
        separator = "\n" if "\n" in text else " "
        return f"{head}{separator}{text}".encode()

    def _value(self, message: Received) -> Value:
        return decode(message.payload, self._decoding, message.content_type)

    def _after_topic(self, message: Received, text: bytes) -> bytes:
        if not self._verbose:
            return text if message.payload else b""
        return message.topic.encode() + b" " + (text if message.payload else b"(null)")

    def _style(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
