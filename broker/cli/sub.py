"""`broker sub`: subscribe and print what comes, with mosquitto_sub's flags and `-F` formats."""

from __future__ import annotations

import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from broker.cli.connecting import connection_options, target
from broker.cli.errors import TIME_IS_UP
from broker.cli.formats import Format, FormatError, Received
from broker.cli.outputs import OUTPUTS, Output
from broker.cli.payloads import DECODINGS, PayloadError
from broker.cli.properties import Command
from broker.cli.pub import check_version
from broker.packets.topics import SHARE_PREFIX, matches, split_share, valid_topic_filter
from broker.packets.types import MQTT_5_0, NO_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.client import Client, Message
    from broker.packets.types import Properties

_RETAIN_HANDLING = {"always": 0, "new": 1, "never": 2}


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker sub -v -t 'home/#'
  broker sub -L mqtts://broker.example -u me --password-file secret -t 'home/#'
  broker sub -L ws://127.0.0.1:8080/mqtt -t 'home/#' -o pretty
  broker sub -t 'home/+/power' -C 1 -W 5                 (exit code 27 when none came in 5 s)
  broker sub -t '#' -F '@H:@M:@S %t q%q r%r %l bytes: %x'
  broker sub -t '#' -D subscribe user-property overflow latest

\b
Fields of -F: %t topic  %p payload  %x %X in hex  %l length  %f %d as float  %q QoS  %r RETAIN
  %m Packet Identifier  %j %J as JSON  %I ISO time  %U Unix time  %C Content Type
  %D Correlation Data  %E expiry  %F Payload Format Indicator  %P User Properties
  %R Response Topic  %% @@ \\\\ themselves  @X strftime's %X  \\n \\t \\0 \\e

\b
Exit codes: 0 done, 1 failure, 2 usage, 4 cannot connect, 5 refused, 27 time is up (-W), 130 Ctrl-C.
""",
)
@click.option("-t", "--topic", "topics", multiple=True, metavar="FILTER", help="Topic Filter; may be repeated.")
@click.option(
    "-q", "--qos", type=click.IntRange(0, 2), default=0, show_default=True, metavar="QOS", help="The highest wanted."
)
@click.option("-v", "--verbose", is_flag=True, help="Print the topic before the payload.")
@click.option("-F", "--format", "format_text", metavar="FORMAT", help="Print each message so; see below.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(OUTPUTS),
    help="raw (default), hex, json (the payload as JSON), jsonl (the message as JSON), pretty.",
)
@click.option(
    "--decode",
    "decoding",
    type=click.Choice(DECODINGS),
    help="What payloads hold, for json, jsonl and pretty; auto looks for itself. Without -o: json.",
)
@click.option("--pretty", is_flag=True, help="Let %j and %J have lines.")
@click.option("-N", "no_eol", is_flag=True, help="No line end after a message.")
@click.option("-C", "--count", type=click.IntRange(1), metavar="N", help="Leave after so many messages.")
@click.option(
    "-W", "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Leave then, with 27."
)
@click.option("-E", "exit_subscribed", is_flag=True, help="Leave as soon as the subscription is acknowledged.")
@click.option("-R", "no_retained", is_flag=True, help="Print no retained messages.")
@click.option("--retained-only", is_flag=True, help="Print retained ones only, and leave at the first that is not.")
@click.option("--remove-retained", is_flag=True, help="Clear each retained message that comes.")
@click.option("-T", "--filter-out", multiple=True, metavar="FILTER", help="Print none of these; may be repeated.")
@click.option("-U", "--unsubscribe", multiple=True, metavar="FILTER", help="End this subscription of a kept Session.")
@click.option("--random-filter", type=click.FloatRange(0, 100), metavar="PERCENT", help="Print only so many.")
@click.option("--no-local", is_flag=True, help="None that we published ourselves. 5.0.")
@click.option("--retain-as-published", is_flag=True, help="Keep RETAIN as its publisher set it. 5.0.")
@click.option(
    "--retain-handling",
    type=click.Choice(list(_RETAIN_HANDLING)),
    help="Retained messages: always (default), new (with a new subscription), never. 5.0.",
)
@connection_options
@click.pass_obj
def sub(
    properties: dict[str, Properties],
    /,
    topics: Sequence[str],
    qos: int,
    verbose: bool,
    format_text: str | None,
    output: str | None,
    decoding: str | None,
    pretty: bool,
    no_eol: bool,
    count: int | None,
    timeout: float | None,
    exit_subscribed: bool,
    no_retained: bool,
    retained_only: bool,
    remove_retained: bool,
    filter_out: Sequence[str],
    unsubscribe: Sequence[str],
    random_filter: float | None,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Subscribe, and print messages as they come.

    Flags are spelled as of mosquitto_sub; MQTT 5.0 is spoken unless -V says otherwise.
    """
    where = target(**options)
    check_version(where, properties)
    if where.version != MQTT_5_0 and (no_local or retain_as_published or retain_handling):
        raise click.UsageError("--no-local, --retain-as-published and --retain-handling are of MQTT 5.0.")
    topics = topics or ([where.topic] if where.topic else [])
    if not topics and not unsubscribe:
        raise click.UsageError("No topic: give one with -t or at the end of the URL.")
    for topic_filter in (*topics, *filter_out, *unsubscribe):
        if not valid_topic_filter(topic_filter):
            raise click.UsageError(f"'{topic_filter}' is no Topic Filter: + takes a whole level, # the last one.")
    if no_local and any(topic_filter.startswith(SHARE_PREFIX) for topic_filter in topics):
        raise click.UsageError("--no-local is not for a Shared Subscription.")  # [MQTT-3.8.3-4]
    if no_retained and retained_only:
        raise click.UsageError("-R and --retained-only leave nothing to print.")
    if format_text is not None and (output or decoding):
        raise click.UsageError("-F says all about the output; it goes with neither -o nor --decode.")

    render = _renderer(format_text, output, decoding, verbose, pretty)
    printer = _Printer(render, b"" if no_eol else b"\n", quiet)

    def wanted(message: Message) -> bool:
        if message.retain and no_retained:
            return False
        if any(matches(split_share(topic_filter)[1], message.topic) for topic_filter in filter_out):
            return False
        return random_filter is None or random.random() * 100 < random_filter

    asked = properties.get("subscribe", NO_PROPERTIES)

    from broker.cli.running import client_of, print_error, run
    from broker.client import Backoff
    from broker.client.errors import describe

    async def receive(client: Client) -> None:
        printed = 0
        async with client.subscribe(
            *dict.fromkeys(topics),
            qos=qos,
            no_local=no_local,
            retain_as_published=retain_as_published,
            retain_handling=_RETAIN_HANDLING[retain_handling or "always"],
            buffer=10_000,
            unsubscribe=where.clean_start,
            user_properties=asked.user_properties,
            partly=True,
        ) as messages:
            for topic_filter, reason in messages.refused.items():
                print_error(
                    f"Warning: the broker refused the subscription: {topic_filter!r} {describe(reason)}", quiet=quiet
                )
            if exit_subscribed:
                return
            async for message in messages:
                if retained_only and not message.retain:
                    return
                if not wanted(message):
                    continue
                if remove_retained and message.retain and message.payload:
                    await client.publish(message.topic, b"", retain=True)
                if not printer(_received(message)):
                    return
                printed += 1
                if printed == count:
                    return

    async def work() -> int:
        import trio

        with trio.move_on_after(timeout) if timeout is not None else trio.CancelScope() as scope:
            async with client_of(where, properties, reconnect=Backoff()) as client:
                if unsubscribe:
                    await client.unsubscribe(*unsubscribe)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_tell_of_losses, client, quiet)
                    if topics:
                        await receive(client)
                    elif not exit_subscribed:
                        await trio.sleep_forever()
                    nursery.cancel_scope.cancel()
        return TIME_IS_UP if scope.cancelled_caught else 0

    run(work, quiet=quiet)


async def _tell_of_losses(client: Client, quiet: bool) -> None:
    """A connection that is lost comes back by itself; who waits for messages wants to know."""
    import trio

    from broker.cli.running import print_error

    while True:
        await trio.sleep(0.5)
        if not client.connected:
            print_error("The connection is lost; connecting again.", quiet=quiet)
            await client.wait_connected()
            print_error("Connected again.", quiet=quiet)


def _renderer(
    format_text: str | None, output: str | None, decoding: str | None, verbose: bool, pretty: bool
) -> Callable[[Received], bytes]:
    if format_text is not None:
        try:
            return Format(format_text, pretty=pretty)
        except FormatError as error:
            raise click.UsageError(f"-F: {error}.") from error
    name = output or ("json" if decoding else "raw")
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return Output(name, decoding=decoding or "auto", verbose=verbose, colour=colour)


class _Printer:
    """Writes messages to stdout, each at once."""

    def __init__(self, render: Callable[[Received], bytes], eol: bytes, quiet: bool) -> None:
        self._render = render
        self._eol = eol
        self._quiet = quiet

    def __call__(self, message: Received) -> bool:
        """False when nobody reads any more (`broker sub … | head -1`)."""
        from broker.cli.running import print_error

        try:
            text = self._render(message)
        except PayloadError as error:
            print_error(f"Error: {message.topic}: {error}", quiet=self._quiet)
            return True
        if not text:
            return True
        try:
            sys.stdout.buffer.write(text + self._eol)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What is in the buffer must not be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False
        return True


def _received(message: Message) -> Received:
    """As it is printed; without the Subscription Identifiers, which the Client makes for itself."""
    properties = message.properties
    return Received(
        topic=message.topic,
        payload=message.payload,
        qos=message.qos,
        retain=message.retain,
        packet_identifier=message.packet_identifier,
        received_ns=time.time_ns(),
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        message_expiry_interval=properties.message_expiry_interval,
        payload_format_indicator=properties.payload_format_indicator,
        user_properties=tuple(properties.user_properties),
    )
