"""`broker clients`: who is connected or has a Session, one Client in full, and the end of a connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.admin.listing import Column, document, field, lines, members, say, show, shown, size, span
from broker.cli.admin.options import (
    AS_TABLE_OR_JSON,
    EXIT_CODES,
    Defaulting,
    SecondsType,
    api_options,
    connected,
)

if TYPE_CHECKING:
    from broker.cli.admin.api import Item

SORTS: Final = ("client_identifier", "connected_since", "queue_messages", "subscriptions", "dropped")
_EITHER: Final = tuple(sign + name for name in SORTS for sign in ("", "-"))


def columns(now: float) -> tuple[Column, ...]:
    """Of the table of Clients; `now` is seconds since the epoch."""
    return (
        Column("CLIENT", field("client_identifier")),
        Column("USER", field("user"), optional=True),
        Column("ADDRESS", field("address")),
        Column("OVER", field("transport")),
        Column("MQTT", field("version")),
        Column("STATE", lambda item: state(item, now)),
        Column("SUBS", field("subscriptions"), right=True),
        Column("INFLIGHT", field("inflight"), right=True),
        Column("QUEUE", field("queue_messages"), right=True),
        Column("DROPPED", field("dropped"), right=True),
        Column("RECEIVED", field("messages_received"), right=True, optional=True),
        Column("SENT", field("messages_sent"), right=True, optional=True),
        Column("RTT ms", field("rtt_ms"), right=True, optional=True),
    )


def state(item: Item, now: float) -> str:
    """Since when it is connected, or away."""
    there = bool(item.get("connected"))
    since = item.get("connected_since" if there else "disconnected_since")
    known = f" {span(now - since)}" if isinstance(since, (int, float)) else ""
    return f"{'up' if there else 'away'}{known}"


@click.group(
    cls=Defaulting,
    epilog=f"""\b
Examples:
  broker clients                                 (the same as: broker clients list)
  broker clients list --filter meter --sort -queue_messages --limit 10
  broker clients list --away -o json
  broker clients show meter/17
  broker clients kick meter/17 --ban 5m
  broker clients bans
  broker clients unban meter/17
  broker clients list --url https://broker.example:8443 --token-file token

{EXIT_CODES}""",
)
def clients() -> None:
    """List the Clients of a running broker, show one, or end its connection."""


@clients.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Part of a Client Identifier, a user name or an address.")
@click.option("--connected/--away", "there", default=None, help="Only those that are connected, or are not.")
@click.option("--transport", metavar="NAME", help="Only those over tcp, tls, ws, wss or unix.")
@click.option(
    "--sort", type=click.Choice(_EITHER), metavar="NAME", help=f"With - the largest first: {', '.join(SORTS)}."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many; else all.")
@AS_TABLE_OR_JSON
@api_options
def list_clients(
    text: str | None,
    there: bool | None,
    transport: str | None,
    sort: str | None,
    limit: int | None,
    output: str,
    **where: Any,
) -> None:
    """Who is connected, or has a Session that waits for him."""
    query = {"filter": text, "connected": there, "transport": transport, "sort": sort}
    with connected(**where) as api:
        found = list(api.items("clients", query=query, most=limit))
    show(output, columns(time.time()), found, "No Client." if not any(query.values()) else "No such Client.")


@clients.command("show")
@click.argument("identifier", metavar="ID")
@AS_TABLE_OR_JSON
@api_options
def show_client(identifier: str, output: str, **where: Any) -> None:
    """All that the broker tells of one Client."""
    with connected(**where) as api:
        said = api.get("clients", named(identifier))
    if output == "json":
        document(said)
        return
    expiry = said.get("session_expiry_s")
    members(
        [
            ("Client", shown(said.get("client_identifier"))),
            ("state", state(said, time.time())),
            ("user", shown(said.get("user"))),
            ("address", shown(said.get("address"))),
            ("listener", " ".join(filter(None, (shown(said.get("transport")), shown(said.get("listener")))))),
            ("MQTT", shown(said.get("version"))),
            ("keep alive", _seconds(said.get("keep_alive_s"))),
            (
                "Session expires",
                "never" if expiry is None else f"{span(expiry)} after it is away" if expiry else "with its connection",
            ),
            ("in flight", shown(said.get("inflight"))),
            ("queue", f"{shown(said.get('queue_messages'))} messages, {size(said.get('queue_bytes') or 0)}"),
            ("dropped", shown(said.get("dropped"))),
            ("received", shown(said.get("messages_received"))),
            ("sent", shown(said.get("messages_sent"))),
            ("RTT", f"{shown(said.get('rtt_ms'))} ms" if said.get("rtt_ms") is not None else ""),
            ("Will", _will(said.get("will"))),
        ]
    )
    held = said.get("subscriptions_list") or []
    if held:
        say("")
        for line in lines(HELD[1:], held):
            say(line)
    for event in said.get("record") or []:
        say(event_line(event))


@clients.command("kick", short_help="End the connection of a Client.")
@click.argument("identifier", metavar="ID")
@click.option("--ban", type=SecondsType(), metavar="TIME", help="Nor may it come back for so long: 90, 5m, 2h.")
@AS_TABLE_OR_JSON
@api_options
def kick(identifier: str, ban: float | None, output: str, **where: Any) -> None:
    """End the connection of a Client; most come back at once, unless banned."""
    with connected(**where) as api:
        api.change("DELETE", "clients", named(identifier), query={"ban_s": ban})
    if output == "json":
        document({"client_identifier": identifier, "ban_s": ban})
    else:
        banned = f", and it may not come back for {span(ban)}" if ban is not None else ""
        say(f"The connection of {shown(identifier)} has ended{banned}.")


BANS: Final = (
    Column("CLIENT", field("client_identifier")),
    Column("LEFT", lambda item: span((item.get("until") or 0) - time.time()), right=True),
    Column("WHY", field("reason"), optional=True),
)


@clients.command("bans")
@AS_TABLE_OR_JSON
@api_options
def bans(output: str, **where: Any) -> None:
    """Who may not come back for a while."""
    with connected(**where) as api:
        found = list(api.items("bans"))
    show(output, BANS, found, "Nobody is banned.")


@clients.command("unban")
@click.argument("identifier", metavar="ID")
@api_options
def unban(identifier: str, **where: Any) -> None:
    """Take a ban back."""
    with connected(**where) as api:
        api.change("DELETE", "bans", named(identifier))
    say(f"{shown(identifier)} may come back.")


def named(identifier: str) -> str:
    if not identifier:
        raise click.UsageError("The Client Identifier is empty.")
    return identifier


def _marks(item: Item) -> str:
    names = (("no_local", "no local"), ("retain_as_published", "retain as published"))
    return ", ".join(text for name, text in names if item.get(name))


HELD: Final = (
    Column("CLIENT", field("client_identifier")),
    Column("TOPIC FILTER", field("topic_filter")),
    Column("QOS", field("qos"), right=True),
    Column("SHARED AS", field("share_name"), optional=True),
    Column("IDENTIFIER", field("subscription_identifier"), right=True, optional=True),
    Column("OPTIONS", _marks, optional=True),
)


def _seconds(value: object) -> str:
    return f"{value} s" if isinstance(value, int) and value else "off" if value == 0 else ""


def _will(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    kept = ", retained" if said.get("retain") else ""
    delay = f", after {span(said['delay_s'])}" if said.get("delay_s") else ""
    return f"{shown(said.get('topic'))} (QoS {shown(said.get('qos'))}{kept}{delay})"


def event_line(said: Item) -> str:
    """An event of a flight record."""
    at = said.get("time")
    clock = time.strftime("%H:%M:%S", time.localtime(at)) if isinstance(at, (int, float)) else ""
    times = said.get("times")
    often = f"({shown(times)} times)" if isinstance(times, int) and times > 1 else ""
    qos = f"QoS {shown(said['qos'])}" if said.get("qos") is not None else ""
    packet = (shown(said.get(name)) for name in ("direction", "packet", "topic"))
    return " ".join(filter(None, (clock, *packet, qos, shown(said.get("detail")), often)))
