"""Takeover storms: two Clients with one Client Identifier, each of which ends the other's connection for ever.

Each is right by the standard [MQTT-3.1.4-3], and neither is told by it why it never works: so who does it is named,
once a minute. What is counted is bounded; a minute with more Client Identifiers than that names some of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.flapping import host_of

if TYPE_CHECKING:
    from broker.core.limits import ServerLimits

MINUTE: Final = 60.0  # seconds
COUNTED: Final = 4096  # Client Identifiers counted in a minute (a guess)
NAMED: Final = 5  # storms named after a minute, the worst ones


class Storm:
    """What has happened to one Client Identifier since the minute began. At most two of the hosts are kept."""

    __slots__ = ("client_identifier", "count", "first", "more", "second")

    def __init__(self, client_identifier: str, first: str) -> None:
        self.client_identifier = client_identifier
        self.count = 0
        self.first = first
        self.second = ""
        self.more = False

    def add(self, host: str) -> None:
        if host == self.first or host == self.second:
            return
        if self.second:
            self.more = True
        else:
            self.second = host

    def text(self) -> str:
        """ "client id 'x' taken over 41 times a minute from A and B"."""
        hosts = self.first
        if self.second:
            hosts += f" and {self.second}" + (" and others" if self.more else "")
        return f"client id {self.client_identifier[:64]!a} taken over {self.count} times a minute from {hosts}"


class Takeovers:
    """See the module. Who has `count` answered with True calls `minute` when one is over."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._storms: dict[str, Storm] = {}
        self.named = ""  # the worst of the last minute that had one, in words; "" where the last had none

    def count(self, client_identifier: str, old_address: str, new_address: str) -> bool:
        """A Session was taken over; whether a minute begins with it."""
        if not self._limits.takeover_storm:
            return False
        storms = self._storms
        begins = not storms
        storm = storms.get(client_identifier)
        if storm is None:
            if len(storms) >= COUNTED:
                return False
            storm = storms[client_identifier] = Storm(client_identifier, host_of(old_address))
        storm.count += 1
        storm.add(host_of(new_address))
        return begins

    def minute(self) -> list[str]:
        """The storms of the minute that is over, in words, the worst first; the next takeover begins a new one."""
        most = self._limits.takeover_storm
        found = [(storm.count, name) for name, storm in self._storms.items() if most and storm.count >= most]
        found.sort(reverse=True)
        result = [self._storms[name].text() for _, name in found[:NAMED]]
        if len(found) > NAMED:
            result.append(f"{len(found) - NAMED} more client ids taken over {most} times a minute or more")
        self._storms.clear()
        self.named = result[0] if result else ""
        return result
