"""All checks, in the order in which a person would ask, and how some of them are chosen."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.probe.connecting import CONNECTING, LIMITS
from broker.probe.faults import FAULTS
from broker.probe.messages import MESSAGES
from broker.probe.network import NETWORK
from broker.probe.retained import RETAINED
from broker.probe.sessions import SESSIONS
from broker.probe.subscriptions import SUBSCRIPTIONS
from broker.probe.websocket import WEBSOCKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.probe.check import Check

GROUPS: Final = (NETWORK, WEBSOCKET, CONNECTING, LIMITS, MESSAGES, RETAINED, SUBSCRIPTIONS, SESSIONS, FAULTS)
CHECKS: Final[tuple[Check, ...]] = tuple(check for group in GROUPS for check in group.checks)
VERSIONS: Final = frozenset({"mqtt-5.0", "mqtt-3.1.1", "mqtt-3.1"})  # each of which speaks one


class Choice(NamedTuple):
    """Names of checks: those that are asked for, and those that must not run even where others need them."""

    wanted: frozenset[str]
    skipped: frozenset[str] = frozenset()


def choose(only: Sequence[str] = (), skip: Sequence[str] = ()) -> Choice:
    """The choice of a person. Both lists hold names of checks and of groups; ValueError for another, and for a choice
    that leaves nothing."""
    skipped = _named(skip)
    wanted = (_named(only) if only else frozenset(check.name for check in CHECKS)) - skipped
    if not wanted:
        raise ValueError("nothing is left to be asked")
    if skipped >= VERSIONS:
        raise ValueError("every version is left out, so nothing can be asked")
    return Choice(wanted, skipped)


def _named(names: Sequence[str]) -> frozenset[str]:
    by_group = {group.name: [check.name for check in group.checks] for group in GROUPS}
    known = {check.name for check in CHECKS}
    found: set[str] = set()
    for name in names:
        if name in by_group:
            found.update(by_group[name])
        elif name in known:
            found.add(name)
        else:
            near = difflib.get_close_matches(name, [*known, *by_group], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "--list names them all"
            raise ValueError(f"there is no check {name!r}: {hint}")
    return frozenset(found)
