"""`broker subs`: the subscriptions of a running broker."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.admin.clients import HELD
from broker.cli.admin.listing import show
from broker.cli.admin.options import AS_TABLE_OR_JSON, EXIT_CODES, api_options, connected


@click.command(
    epilog=f"""\b
Examples:
  broker subs
  broker subs --client meter/17
  broker subs --topic building/3/temperature     (who would get that)
  broker subs --filter building -o json

{EXIT_CODES}""",
)
@click.option("--client", metavar="ID", help="Only those of this Client Identifier.")
@click.option("--topic", metavar="TOPIC", help="Only those that match this Topic Name.")
@click.option("--filter", "text", metavar="TEXT", help="Part of a Topic Filter.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many; else all.")
@AS_TABLE_OR_JSON
@api_options
def subs(client: str | None, topic: str | None, text: str | None, limit: int | None, output: str, **where: Any) -> None:
    """List the subscriptions of a running broker, by Client or by topic."""
    if topic is not None and (not topic or "+" in topic or "#" in topic):
        raise click.UsageError(
            "--topic takes a Topic Name, without + and #; --filter looks for part of a Topic Filter."
        )
    query = {"client": client, "topic": topic, "filter": text}
    with connected(**where) as api:
        found = list(api.items("subscriptions", query=query, most=limit))
    show(output, HELD, found, "No subscription." if not any(query.values()) else "No such subscription.")
