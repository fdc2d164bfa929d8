"""`-D COMMAND NAME VALUE`: properties of MQTT 5.0 on the command line, spelled as mosquitto_pub and mosquitto_sub do.

`-D` takes three words, or four for `user-property`; click knows options with one number of words only, so
`gather` takes them out of the command line before click reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.connecting import CONNECTION_PARAMETERS
from broker.packets.types import Properties

if TYPE_CHECKING:
    from collections.abc import Mapping

_MESSAGE: Final = (
    "content-type",
    "correlation-data",
    "message-expiry-interval",
    "payload-format-indicator",
    "response-topic",
    "user-property",
)

# Packet -> the properties that may be given for it (MQTT 5.0 table 2-4): those that our Client sends at will.
ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "connect": (
        "maximum-packet-size",
        "receive-maximum",
        "request-problem-information",
        "request-response-information",
        "session-expiry-interval",
        "topic-alias-maximum",
        "user-property",
    ),
    "publish": (*_MESSAGE, "topic-alias"),
    "subscribe": ("user-property",),
    "will": (*_MESSAGE, "will-delay-interval"),
}

# The largest value of those that are numbers.
_NUMBERS: Final[Mapping[str, int]] = {
    "maximum-packet-size": 0xFFFFFFFF,
    "message-expiry-interval": 0xFFFFFFFF,
    "payload-format-indicator": 1,
    "receive-maximum": 0xFFFF,
    "request-problem-information": 1,
    "request-response-information": 1,
    "session-expiry-interval": 0xFFFFFFFF,
    "topic-alias": 0xFFFF,
    "topic-alias-maximum": 0xFFFF,
    "will-delay-interval": 0xFFFFFFFF,
}
_NOT_ZERO: Final = ("maximum-packet-size", "receive-maximum", "topic-alias")

_HELP: Final = [
    (
        "-D, --property PACKET NAME VALUE",
        f"May be repeated. PACKET is {', '.join(ALLOWED)}; NAME as in the standard: content-type, "
        "message-expiry-interval …; user-property takes a name and a value.",
    )
]


class Command(click.Command):
    """A click command with `-D`/`--property`; it finds them in `ctx.obj`, as packet name -> Properties."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest, given = gather(self, args)
        properties: dict[str, Properties] = {}
        for words in given:
            try:
                add(properties, *words)
            except ValueError as error:
                raise click.UsageError(str(error), ctx) from error
        ctx.obj = properties
        return super().parse_args(ctx, rest)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        connection: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (connection if parameter.name in CONNECTION_PARAMETERS else own).append(record)
        for title, records in (("Options", own), ("Connection", connection), ("Properties of MQTT 5.0", _HELP)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def gather(command: click.Command, args: list[str]) -> tuple[list[str], list[list[str]]]:
    """`args` without its `-D`s, and what each `-D` was given. The value of another option is never taken for a `-D`."""
    takes_value = {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.count
        for name in parameter.opts
    }
    rest: list[str] = []
    given: list[list[str]] = []
    position = 0
    while position < len(args):
        word = args[position]
        if word == "--":
            rest += args[position:]
            break
        if word in ("-D", "--property"):
            count = 4 if args[position + 2 : position + 3] == ["user-property"] else 3
            given.append(args[position + 1 : position + 1 + count])
            position += 1 + count
        else:
            # A bundle like -rq takes its value from the next word when its last letter wants one.
            bundle = word.startswith("-") and not word.startswith("--") and len(word) > 2
            option = "-" + word[-1] if bundle and not any("-" + c in takes_value for c in word[1:-1]) else word
            count = 2 if option in takes_value else 1
            rest += args[position : position + count]
            position += count
    return rest, given


def add(properties: dict[str, Properties], *words: str) -> None:
    """Put one `-D` into `properties`; ValueError says in words what is wrong with it."""
    if not words or words[0] not in ALLOWED:
        raise ValueError(f"-D begins with one of {', '.join(ALLOWED)}: '{' '.join(words)}'")
    packet = words[0]
    if len(words) < 2:
        raise ValueError(f"-D {packet}: a property name and a value must follow")
    name = words[1]
    if name not in ALLOWED[packet]:
        raise ValueError(f"-D {packet}: no property '{name}' there; there are {', '.join(ALLOWED[packet])}")
    values = words[2:]
    wanted = 2 if name == "user-property" else 1
    if len(values) != wanted:
        raise ValueError(f"-D {packet} {name}: {'a name and a value' if wanted == 2 else 'a value'} must follow")
    into = properties.setdefault(packet, Properties())
    if name == "user-property":
        into.user_properties.append((values[0], values[1]))
    else:
        value: Any = values[0]
        if name in _NUMBERS:
            value = _number(packet, name, value)
        elif name == "correlation-data":
            value = value.encode()
        setattr(into, name.replace("-", "_"), value)


def _number(packet: str, name: str, text: str) -> int:
    least = 1 if name in _NOT_ZERO else 0
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value <= _NUMBERS[name]:
        raise ValueError(f"-D {packet} {name}: '{text}' is no whole number from {least} to {_NUMBERS[name]}")
    return value
