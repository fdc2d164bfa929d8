"""`broker bench`: how much a broker takes, how long a message takes, and what WebSocket costs.

The commands stand in a table, as those of `broker` do, so that `--help` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

# name -> (module, attribute, the line that `broker bench --help` shows)
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "conn": ("broker.cli.bench.single", "conn", "Open many connections and hold them."),
    "pub": ("broker.cli.bench.single", "pub", "Publish, each publisher to a subscriber of its own."),
    "sub": ("broker.cli.bench.single", "sub", "Receive what others publish."),
    "fanout": ("broker.cli.bench.single", "fanout", "Publish to many subscribers at once."),
    "rtt": ("broker.cli.bench.single", "rtt", "One message at a time: there and back."),
    "compare": ("broker.cli.bench.compare", "compare", "The same load over TCP and WebSocket, or at several brokers."),
}

_EXAMPLES = """\b
How many messages can my broker take?
  broker bench pub -L mqtt://127.0.0.1:1883                  (1 publisher, 1 subscriber)
  broker bench pub -L mqtt://127.0.0.1:1883 -c 50 -q 1       (50 of each, acknowledged)
  broker bench fanout -L mqtt://127.0.0.1:1883 --subscribers 1000

\b
How long does a message take at my rate?
  broker bench pub -L mqtt://127.0.0.1:1883 -c 20 --rate 5000 -d 1m
  broker bench rtt -L mqtt://127.0.0.1:1883                  (one at a time)
  broker bench pub --rate 5000 --fail-if 'p99>50ms'          (for a script: exit code 3)

\b
What does WebSocket cost me?
  broker bench compare                                       (a broker of its own)
  broker bench compare -L mqtt://127.0.0.1:1883 -L ws://127.0.0.1:8080/mqtt --html report.html

\b
Without -L a broker of its own is started on free ports, and ended with the run. Load on a broker is felt by whoever
uses it: aim it at none that others need.
"""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
def bench() -> None:
    """Measure any MQTT broker: throughput, latency, connections; TCP against WebSocket."""
