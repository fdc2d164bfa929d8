"""`broker pub`: publish messages, with mosquitto_pub's flags, over TCP, TLS, WebSocket and Unix sockets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from broker.cli.connecting import Target, connection_options, target
from broker.cli.payloads import CONTENT_TYPES, ENCODINGS, PayloadError, encode
from broker.cli.properties import Command
from broker.packets.topics import valid_topic_name
from broker.packets.types import MQTT_5_0, Properties

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from io import BufferedReader

    from broker.client import Client, Publishing

_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 1000**2, "mb": 1000**2, "mib": 1024**2}
_LARGEST = 268_435_455  # what Remaining Length can say
IN_FLIGHT = 1000  # messages on their way at once, where the broker takes so many


class SizeType(click.ParamType[int]):
    """A number of bytes: 64, 1kB, 1KiB, 2MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().lower()
        digits = text.rstrip("bikm ")
        unit = text[len(digits) :].strip()
        if not digits.isdigit() or unit not in _UNITS or int(digits) * _UNITS[unit] > _LARGEST:
            self.fail(f"'{value}' is no size such as 64, 1KiB or 2MB.", param, ctx)
        return int(digits) * _UNITS[unit]


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker pub -t home/lamp -m on -r -q 1
  broker pub -L ws://127.0.0.1:8080/mqtt -t home/lamp -m '{"on": true}' --encode msgpack
  broker pub -L mqtt://127.0.0.1/log -l < /var/log/syslog
  broker pub -t home/lamp -n -r                          (clears the retained message)
  broker pub -L mqtts://broker.example --cafile ca.crt -t home/lamp -m on

\b
Exit codes: 0 done (QoS 1 and 2: acknowledged), 1 failure, 2 usage, 4 cannot connect, 5 refused, 130 Ctrl-C.
""",
)
@click.option("-t", "--topic", metavar="TOPIC", help="Topic Name; may stand in the URL instead.")
@click.option("-m", "--message", metavar="TEXT", help="The payload.")
@click.option("-f", "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its file.")
@click.option("-s", "--stdin-file", "whole", is_flag=True, help="All of stdin is the payload.")
@click.option("-l", "--stdin-line", "lines", is_flag=True, help="Each line of stdin is a message.")
@click.option("-n", "--null-message", "null", is_flag=True, help="No payload.")
@click.option("--size", type=SizeType(), help="A payload of so many bytes: 64, 1KiB, 2MB.")
@click.option("-q", "--qos", type=click.IntRange(0, 2), default=0, show_default=True, metavar="QOS")
@click.option("-r", "--retain", is_flag=True, help="The broker keeps it as the topic's last.")
@click.option(
    "--encode",
    "encoding",
    type=click.Choice(ENCODINGS),
    default="text",
    show_default=True,
    help="What the payload is written in; msgpack: as JSON. json and msgpack set the Content Type (5.0).",
)
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N", help="Send it so many times.")
@click.option("--repeat-delay", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Between them.")
@connection_options
@click.pass_obj
def pub(
    properties: dict[str, Properties],
    /,
    topic: str | None,
    message: str | None,
    file: Path | None,
    whole: bool,
    lines: bool,
    null: bool,
    size: int | None,
    qos: int,
    retain: bool,
    encoding: str,
    repeat: int,
    repeat_delay: float,
    quiet: bool,
    **options: Any,
) -> None:
    """Publish a message, or each line of stdin as one.

    Flags are spelled as of mosquitto_pub; MQTT 5.0 is spoken unless -V says otherwise.
    """
    where = target(**options)
    check_version(where, properties)
    topic = topic or where.topic
    if not topic:
        raise click.UsageError("No topic: give one with -t or at the end of the URL.")
    if not valid_topic_name(topic):
        raise click.UsageError(f"'{topic}' is no Topic Name: it may hold neither + nor #, and no control characters.")
    sources = {
        "-m": message is not None,
        "-f": file is not None,
        "-s": whole,
        "-l": lines,
        "-n": null,
        "--size": size is not None,
    }
    chosen = [name for name, given in sources.items() if given]
    if len(chosen) != 1:
        raise click.UsageError(
            f"{' and '.join(chosen)} each give a payload; give one." if chosen else f"No payload: {', '.join(sources)}."
        )
    if lines and repeat > 1:
        raise click.UsageError("--repeat is for one message, not for the lines of -l.")

    payload = b""
    if message is not None:
        payload = message.encode()
    elif file is not None:
        payload = file.read_bytes()
    elif whole:
        payload = sys.stdin.buffer.read()
    elif size is not None:
        payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    if not (null or lines or size is not None):
        try:
            payload = encode(payload, encoding)
        except PayloadError as error:
            raise click.UsageError(f"The payload is {error}.") from error

    sent = _message_properties(properties.get("publish"), encoding, where)

    from broker.cli.running import client_of, run

    async def work() -> int:
        async with client_of(where, properties) as client:
            from_stdin = _Lines(encoding, quiet)
            payloads = aiter(from_stdin) if lines else _repeated(payload, repeat, repeat_delay)

            def publish(payload: bytes) -> Publishing:
                return client.publish_nowait(topic, payload, qos=qos, retain=retain, properties=sent)

            await _publish_all(client, payloads, publish)
        return from_stdin.code

    run(work, quiet=quiet)


def check_version(where: Target, properties: dict[str, Properties]) -> None:
    """Properties are of 5.0; saying nothing would be to lose what was asked for."""
    if where.version != MQTT_5_0 and (properties or where.session_expiry_interval not in (0, 0xFFFFFFFF)):
        raise click.UsageError("-D and -x are of MQTT 5.0, and -V says an earlier one.")


def _message_properties(given: Properties | None, encoding: str, where: Target) -> Properties | None:
    if where.version != MQTT_5_0 or (given is None and encoding not in CONTENT_TYPES):
        return None
    properties = given or Properties()
    if properties.content_type is None:
        properties.content_type = CONTENT_TYPES.get(encoding)
    return properties


async def _publish_all(client: Client, payloads: AsyncIterator[bytes], publish: Callable[[bytes], Publishing]) -> None:
    """Publish in order, as many at a time as the broker takes, and return when all are acknowledged."""
    import trio

    maximum = client.connack.properties.receive_maximum if client.connack is not None else None
    room = trio.Semaphore(min(maximum or IN_FLIGHT, IN_FLIGHT))

    async def acknowledged(publishing: Publishing) -> None:
        await publishing.acknowledged()
        room.release()

    async with trio.open_nursery() as nursery:
        async for payload in payloads:
            await room.acquire()
            nursery.start_soon(acknowledged, publish(payload))


async def _repeated(payload: bytes, repeat: int, delay: float) -> AsyncIterator[bytes]:
    import trio

    for number in range(repeat):
        if number:
            await trio.sleep(delay)
        yield payload


class _Lines:
    """The lines of stdin as payloads; one that cannot be encoded is told, passed over, and makes `code` 1."""

    def __init__(self, encoding: str, quiet: bool) -> None:
        self.code = 0
        self._encoding = encoding
        self._quiet = quiet

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from broker.cli.running import print_error

        number = 0
        async for line in _lines_of_stdin():
            number += 1
            try:
                payload = encode(line, self._encoding) if line else b""
            except PayloadError as error:
                print_error(f"Error: line {number} is {error}", quiet=self._quiet)
                self.code = 1
            else:
                yield payload


async def _lines_of_stdin() -> AsyncIterator[bytes]:
    """Without their ends. What is there is read at once: a thread for every line would cost more than the line."""
    import trio

    stdin = cast("BufferedReader", sys.stdin.buffer)
    begun = bytearray()
    while data := await trio.to_thread.run_sync(stdin.read1, 65_536, abandon_on_cancel=True):
        *lines, rest = data.split(b"\n")
        for line in lines:
            yield bytes(begun) + line
            begun.clear()
        begun += rest
    if begun:
        yield bytes(begun)
