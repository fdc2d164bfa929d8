"""`broker explain`: which rule of the configuration decides about a topic, asked without a broker.

It builds the policy out of the file exactly as `broker serve` does and asks it once. Nothing is connected to, and
nobody is authenticated: the user name is taken as proved.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING

import click

from broker.cli.config import config_option
from broker.cli.errors import REFUSED, ConfigurationMistake

if TYPE_CHECKING:
    from pathlib import Path

    from broker.auth.explaining import Action
    from broker.auth.roles import Roles


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    short_help="Say which rule lets a Client publish or subscribe, or does not.",
    epilog="""\b
Examples:
  broker explain -c broker.toml --user ann --client phone subscribe 'home/#'
  broker explain -c broker.toml --client sensor-7 publish home/kitchen/temperature --retain
  broker explain -c broker.toml --user ann --client phone receive home/alarm --json | jq .rule

\b
publish    a message, or a Will Message, to that Topic Name
subscribe  to that Topic Filter; of a shared one the $share/name/ counts for nothing
receive    a message to that Topic Name, retained or not, whatever the Client has subscribed to

Exit codes: 0 allowed, 5 refused, 2 usage or configuration.
""",
)
@click.argument("action", type=click.Choice(["publish", "subscribe", "receive"]))
@click.argument("topic")
@config_option
@click.option("--client", "client_identifier", required=True, metavar="ID", help="The Client Identifier.")
@click.option("--user", "user_name", default="", metavar="NAME", help="A proved user name; without it, anonymous.")
@click.option(
    "--role", "extra_roles", multiple=True, metavar="NAME", help="A role that a token would give. May be repeated."
)
@click.option("--retain", is_flag=True, help="What is published has RETAIN set.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
@click.pass_context
def explain(
    ctx: click.Context,
    action: Action,
    topic: str,
    path: Path | None,
    client_identifier: str,
    user_name: str,
    extra_roles: tuple[str, ...],
    retain: bool,
    as_json: bool,
) -> None:
    """Say whether a Client may do something with a topic, and which rule of which role decides."""
    from broker.auth import explaining
    from broker.packets.reasons import ProtocolError

    if retain and action != "publish":
        raise click.UsageError("--retain goes with publish only.")
    roles = read(path)
    for name in extra_roles:
        if name not in roles.roles:
            near = difflib.get_close_matches(name, roles.roles, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" There are: {', '.join(roles.roles) or 'none'}."
            raise click.BadParameter(f"there is no role '{name}'.{hint}", param_hint="--role")
    try:
        found = explaining.explain(roles, user_name, client_identifier, action, topic, retain, extra_roles)
    except ProtocolError as error:
        kind = "Topic Filter" if action == "subscribe" else "Topic Name"
        raise click.BadParameter(f"'{topic}' is no {kind}: {error.detail}", param_hint="TOPIC") from error
    click.echo(json.dumps(found.as_json()) if as_json else found.text())
    if not found.allowed:
        ctx.exit(REFUSED)


def read(path: Path | None) -> Roles:
    """The policy of a configuration file; of the defaults without one."""
    from broker.auth.roles import PolicyError, policy
    from broker.config import ConfigError, load

    try:
        return policy(load(path, os.environ).roles)
    except (ConfigError, PolicyError) as error:
        raise ConfigurationMistake(str(error)) from error
