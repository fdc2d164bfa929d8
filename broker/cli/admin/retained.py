"""`broker retained`: the retained messages of a running broker, read and deleted.

Deleting tells no subscriber; an empty retained message, `broker pub -r -n`, does. What a Topic Filter would delete is
counted by the broker and confirmed before it is done; where the count has changed meanwhile it is asked for anew.
"""

from __future__ import annotations

import base64
import binascii
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.admin.api import Conflict
from broker.cli.admin.listing import Column, document, field, members, one_line, say, show, shown, size, span
from broker.cli.admin.options import AS_TABLE_OR_JSON, EXIT_CODES, Defaulting, api_options, connected
from broker.cli.errors import Failure
from broker.cli.payloads import decode, legible, to_json

if TYPE_CHECKING:
    from broker.cli.admin.api import Api, Item

SHOWN: Final = 60  # characters of a payload in a table
TRIES: Final = 5  # while the count of what is to be deleted changes


def payload_of(item: Item) -> bytes:
    """As much of it as the API has given."""
    try:
        return base64.b64decode(item.get("payload_base64") or "")
    except (binascii.Error, TypeError, ValueError):
        return b""


def preview(item: Item) -> str:
    """The payload in one line; of a long one the beginning."""
    payload = payload_of(item)
    if item.get("truncated"):
        text = payload[:SHOWN].decode("utf-8", "replace") + "…"
    else:
        value = decode(payload, content_type=_content_type(item))
        text = "" if value is None else value if isinstance(value, str) else to_json(value)
    text = one_line(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


COLUMNS: Final = (
    Column("TOPIC", field("topic")),
    Column("QOS", field("qos"), right=True),
    Column("BYTES", field("bytes"), right=True),
    Column("EXPIRES IN", lambda item: _expires(item), right=True, optional=True),
    Column("PAYLOAD", preview),
)


@click.group(
    cls=Defaulting,
    epilog=f"""\b
Examples:
  broker retained                                (the same as: broker retained list '#')
  broker retained list 'building/+/temperature' -o json
  broker retained get building/3/temperature
  broker retained get camera/still -o raw > still.jpg
  broker retained delete building/3/temperature
  broker retained delete --recursive 'old/#'     (says how many, and asks)

{EXIT_CODES}""",
)
def retained() -> None:
    """List the retained messages of a running broker, get one, or delete them."""


@retained.command("list", short_help="Those whose topics match a Topic Filter.")
@click.argument("topic_filter", metavar="[FILTER]", default="#")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many; else all.")
@AS_TABLE_OR_JSON
@api_options
def list_retained(topic_filter: str, limit: int | None, output: str, **where: Any) -> None:
    """Those whose topics match a Topic Filter, # if none is given; of each payload the first 4 KiB."""
    with connected(**where) as api:
        found = list(api.items("retained", query={"filter": topic_filter}, most=limit))
    show(output, COLUMNS, found, "No such retained message." if topic_filter != "#" else "No retained message.")


@retained.command("get")
@click.argument("topic")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json", "raw")),
    default="table",
    show_default=True,
    help="json: what the API says; raw: the payload, byte by byte.",
)
@api_options
def get(topic: str, output: str, **where: Any) -> None:
    """One retained message, with all of its payload."""
    with connected(**where) as api:
        said = api.get("retained", _topic_name(topic))
    if output == "json":
        document(said)
        return
    payload = payload_of(said)
    if output == "raw":
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()
        return
    found = said.get("properties")
    properties = found if isinstance(found, dict) else {}
    members(
        [
            ("topic", shown(said.get("topic"))),
            ("QoS", shown(said.get("qos"))),
            ("size", size(said.get("bytes") or 0)),
            ("expires in", _expires(said)),
            *((name.replace("_", " "), one_line(to_json(value))) for name, value in properties.items()),
        ]
    )
    value = decode(payload, content_type=_content_type(said))
    text = "" if value is None else value if isinstance(value, str) else to_json(value, indent=2)
    click.echo(f"\n{legible(text)}")


@retained.command("delete", short_help="Delete one, or all that a Topic Filter matches.")
@click.argument("topic")
@click.option("--recursive", is_flag=True, help="TOPIC is a Topic Filter: all that it matches.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_TABLE_OR_JSON
@api_options
def delete(topic: str, recursive: bool, yes: bool, output: str, **where: Any) -> None:
    """Delete one retained message, or with --recursive all that a Topic Filter matches.

    No subscriber is told; 'broker pub -r -n -t TOPIC' deletes one and tells them.
    """
    if not recursive:
        _topic_name(topic)
    with connected(**where) as api:
        if recursive:
            count = _delete_all(api, topic, yes)
        else:
            api.change("DELETE", "retained", topic)
            count = 1
    if output == "json":
        document({"deleted": count})
    elif count:
        say(f"{count:,} retained message{'' if count == 1 else 's'} deleted.")
    else:
        click.echo("No such retained message.", err=True)


def _delete_all(api: Api, topic_filter: str, yes: bool) -> int:
    """How many it was. Raises click.Abort where somebody says no."""
    count: int | None = None
    for _ in range(TRIES):
        try:
            return int(api.change("DELETE", "retained", query={"filter": topic_filter, "expected": count})["deleted"])
        except Conflict as conflict:
            count = conflict.said.get("count")
            if not isinstance(count, int):
                raise
        if not count:
            return 0
        if not yes:
            _ask(f"Delete {count:,} retained message{'' if count == 1 else 's'} of {shown(topic_filter)}?")
    raise Failure("their number changes all the time; nothing was deleted. Try a narrower Topic Filter.")


def _ask(question: str) -> None:
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise Failure("nobody has said yes, and nothing was deleted; --yes does not ask.") from None
    if not sure:
        raise Failure("nothing was deleted.")


def _topic_name(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic:
        raise click.UsageError(
            f"'{topic}' is no Topic Name: 'list' takes a Topic Filter, and 'delete' does with --recursive."
        )
    return topic


def _content_type(item: Item) -> str | None:
    properties = item.get("properties")
    found = properties.get("content_type") if isinstance(properties, dict) else None
    return found if isinstance(found, str) else None


def _expires(item: Item) -> str:
    at = item.get("expires_at")
    return span(at - time.time()) if isinstance(at, (int, float)) else ""
