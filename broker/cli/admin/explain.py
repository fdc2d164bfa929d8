"""What a running broker says of a topic and a Client: the half of `broker explain` that asks the API.

The answer is the broker's, out of the state that it delivers by; here it is only put into lines. The packets of the
Client may be watched for a while before: what its flight record gains meanwhile is told as it comes. A Client that was
watched already stays watched, any other does not, however this ends.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.admin.clients import event_line, named
from broker.cli.admin.listing import document, one_line, shown
from broker.cli.errors import CannotConnect

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cli.admin.api import Api, Item

REACHED: Final = frozenset(("delivered", "waiting", "shared"))  # verdicts with which the message is not lost
SOON: Final = 0.5  # seconds between two looks at a flight record
NEAR: Final = 0.1  # seconds by which the time of one event may differ from answer to answer


def ask(api: Api, client: str, topic: str, watch: float | None, as_json: bool) -> bool:
    """Tell on stdout what would become of a message now, after `watch` seconds; whether the Client would get it."""
    from broker.packets.reasons import ProtocolError
    from broker.packets.topics import check_topic_name

    named(client)
    try:
        check_topic_name(topic)
    except ProtocolError as error:
        raise click.BadParameter(f"'{topic}' is no Topic Name: {error.detail}", param_hint="--topic") from error
    events: list[Item] = []
    if watch is not None:

        def tell(event: Item) -> None:
            events.append(event)
            if not as_json:
                click.echo(event_line(event))

        _watch(api, client, watch, tell)
    said = api.get("explain", query={"client": client, "topic": topic})
    verdict, steps = said.get("verdict"), said.get("steps")
    if not isinstance(verdict, str) or not isinstance(steps, list) or not all(isinstance(each, dict) for each in steps):
        raise CannotConnect(f"{api.url}: what answers there is not the API of TrioMQ.")
    if as_json:
        document({**said, "watched": events} if watch is not None else said)
    else:
        click.echo(text(said))
    return verdict in REACHED


def text(said: Item) -> str:
    """The answer of the API in lines for people."""
    whom = f"'{one_line(str(said.get('topic')))}' to Client '{one_line(str(said.get('client_identifier')))}'"
    lines = [f"{str(said['verdict']).replace('_', ' ')}: {whom}"]
    width = max((len(str(step.get("what"))) for step in said["steps"]), default=0)
    for step in said["steps"]:
        mark = "ok  " if step.get("outcome") == "ok" else "stop"
        lines.append(f"  {mark}  {shown(step.get('what')):<{width}}  {shown(step.get('detail'))}")
    last = said.get("last")
    if isinstance(last, dict):
        lines.append(f"  last  {event_line(last)}")
    return "\n".join(lines)


def _watch(api: Api, client: str, seconds: float, tell: Callable[[Item], None]) -> None:
    """Have the packets of the Client noted for so long, and tell of what happens."""
    from broker.cli.admin.api import Missing

    watched, before = _record(api, client)
    if not watched:
        api.change("POST", "watches", body={"client_identifier": client})
    end = monotonic() + seconds
    try:
        while (left := end - monotonic()) > 0:
            sleep(min(SOON, left))
            _, now = _record(api, client)
            for event in fresh(before, now):
                tell(event)
            before = now
    finally:
        if not watched:
            with suppress(Missing, CannotConnect):  # it is over already, or with the broker
                api.change("DELETE", "watches", client)


def _record(api: Api, client: str) -> tuple[bool, list[Item]]:
    """Whether the Client is watched, and its flight record; empty for one that is not there yet."""
    from broker.cli.admin.api import Missing

    try:
        said = api.get("clients", client)
    except Missing:
        return False, []
    record = said.get("record")
    events = record if isinstance(record, list) else []
    return bool(said.get("watched")), [each for each in events if isinstance(each, dict)]


def fresh(before: list[Item], now: list[Item]) -> list[Item]:
    """What a record has gained: events at its end, and one that has happened again. It may have lost some at its
    beginning."""
    for count in range(max(0, len(now) - len(before)), len(now) + 1):
        kept = now[: len(now) - count]
        old = before[len(before) - len(kept) :]
        if all(map(_same, old, kept)):
            again = [new for was, new in zip(old, kept, strict=True) if was.get("times") != new.get("times")]
            return again + now[len(kept) :]
    return now


def _same(one: Item, other: Item) -> bool:
    """Whether they are one event, which may have happened again in between."""
    times: list[Any] = [one.get("time"), other.get("time")]
    known = all(isinstance(each, (int, float)) for each in times)
    members = ("direction", "packet", "packet_identifier", "detail")
    near = not known or abs(times[0] - times[1]) < NEAR
    return near and all(one.get(name) == other.get(name) for name in members)
