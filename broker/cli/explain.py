"""`broker explain`: why a message does not arrive, asked of a running broker, or of a configuration without one.

With --topic a running broker is asked, over its API (`broker.cli.admin.explain`). With an action and a topic the policy
is built out of the file exactly as `broker serve` does and asked once: nothing is connected to, and nobody is
authenticated; the user name is taken as proved.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from broker.cli.admin.options import AS_TABLE_OR_JSON, SecondsType, api_options, connected
from broker.cli.config import config_option
from broker.cli.errors import REFUSED, ConfigurationMistake

if TYPE_CHECKING:
    from pathlib import Path

    from broker.auth.explaining import Action
    from broker.auth.roles import Roles

ACTIONS: Final = ("publish", "subscribe", "receive")
# of the one half, and of the other
_OF_A_FILE: Final = {"path": "--config", "user_name": "--user", "extra_roles": "--role", "retain": "--retain"}
_OF_A_BROKER: Final = {
    **{"watch": "--watch", "url": "--url", "token": "--token", "token_file": "--token-file", "timeout": "--timeout"},
    **{"cafile": "--cafile", "cert": "--cert", "key": "--key", "key_password_file": "--key-password-file"},
    "insecure": "--insecure",
}


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    short_help="Say why a message does or does not reach a Client.",
    epilog="""\b
Examples, of a running broker:
  broker explain --client panel-3 --topic building/3/temperature
  broker explain --client panel-3 --topic building/3/temperature --watch 30s
  broker explain --client panel-3 --topic a/b --url https://broker.example:8443 --token-file token -o json

\b
It says what would become of a message to that topic now: the Client's Session, its subscriptions, the rule that lets
it receive, its queue, its connection, and what of late happened to it with that topic. --watch has the packets of the
Client noted for a while first and tells them (for that, the role operator).

\b
Examples, of a configuration:
  broker explain -c broker.toml --user ann --client phone subscribe 'home/#'
  broker explain -c broker.toml --client sensor-7 publish home/kitchen/temperature --retain
  broker explain -c broker.toml --user ann --client phone receive home/alarm -o json | jq .rule

\b
publish    a message, or a Will Message, to that Topic Name
subscribe  to that Topic Filter; of a shared one the $share/name/ counts for nothing
receive    a message to that Topic Name, retained or not, whatever the Client has subscribed to

\b
Exit codes of a running broker: 0 the Client would get it, at once or later, 1 it would not, 2 usage, 4 nobody answers
or it has no API, 5 refused: a token or another role is needed, 130 Ctrl-C.
Of a configuration: 0 allowed, 5 refused, 2 usage or configuration.
""",
)
@click.argument("action", type=click.Choice(ACTIONS), required=False)
@click.argument("of", metavar="[TOPIC]", required=False)
@click.option("--client", "client_identifier", required=True, metavar="ID", help="The Client Identifier.")
@click.option("--topic", metavar="TOPIC", help="The Topic Name of a message; a running broker is asked.")
@click.option("--watch", type=SecondsType(), metavar="TIME", help="Tell its packets for so long first: 10, 30s, 5m.")
@AS_TABLE_OR_JSON
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@config_option
@click.option("--user", "user_name", default="", metavar="NAME", help="A proved user name; without it, anonymous.")
@click.option(
    "--role", "extra_roles", multiple=True, metavar="NAME", help="A role that a token would give. May be repeated."
)
@click.option("--retain", is_flag=True, help="What is published has RETAIN set.")
@api_options
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    action: Action | None,
    of: str | None,
    client_identifier: str,
    topic: str | None,
    watch: float | None,
    output: str,
    as_json: bool,
    path: Path | None,
    user_name: str,
    extra_roles: tuple[str, ...],
    retain: bool,
    **where: Any,
) -> None:
    """Say why a message with a topic reaches a Client or does not (--topic, of a running broker), or whether a Client
    may do something with a topic, and which rule of which role decides (an action, of a configuration)."""
    as_json = as_json or output == "json"
    if topic is not None:
        if action is not None:
            raise click.UsageError(f"--topic asks a running broker, '{action}' a configuration: give one of them.")
        _without(ctx, _OF_A_FILE, "asks a configuration, and --topic a running broker")
        from broker.cli.admin.explain import ask

        with connected(**where) as api:
            reached = ask(api, client_identifier, topic, watch, as_json)
        if not reached:
            ctx.exit(1)
        return
    if action is None or of is None:
        raise click.UsageError(
            "Say --topic TOPIC to ask a running broker, or publish, subscribe or receive and a topic to ask a "
            "configuration."
        )
    _without(ctx, _OF_A_BROKER, "asks a running broker, which needs --topic")
    if retain and action != "publish":
        raise click.UsageError("--retain goes with publish only.")
    if not _offline(read(path), action, of, client_identifier, user_name, extra_roles, retain, as_json):
        ctx.exit(REFUSED)


def _without(ctx: click.Context, options: dict[str, str], why: str) -> None:
    """Raises click.UsageError where one of these was given."""
    for name, option in options.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} {why}.")


def _offline(
    roles: Roles,
    action: Action,
    topic: str,
    client_identifier: str,
    user_name: str,
    extra_roles: tuple[str, ...],
    retain: bool,
    as_json: bool,
) -> bool:
    """Tell what a configuration says; whether it allows that."""
    from broker.auth import explaining
    from broker.packets.reasons import ProtocolError

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
    return found.allowed


def read(path: Path | None) -> Roles:
    """The policy of a configuration file; of the defaults without one."""
    from broker.auth.roles import PolicyError, policy
    from broker.config import ConfigError, load

    try:
        return policy(load(path, os.environ).roles)
    except (ConfigError, PolicyError) as error:
        raise ConfigurationMistake(str(error)) from error
