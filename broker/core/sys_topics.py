"""`$SYS/broker/#`: the broker's own figures as retained messages, with mosquitto's names where they fit.

Every `sys_interval` seconds the values that have changed are published, QoS 0, retained. Loads are moving averages over
1, 5 and 15 minutes of what happened per minute, computed as mosquitto computes them. Under
`$SYS/broker/transport/<name>/` stands the same split by transport.

`latency/<transport>/<QoS>/` has the `p50`, `p99` and `max` of the last minute in milliseconds, from when a PUBLISH was
received until the socket had taken it for a receiver, `acknowledge/<transport>/<QoS>/` until it was acknowledged (see
`broker.core.latency`), and `latency/loop/` how late the broker's one loop came to what was due. None of them is there
before there is something to tell.

What the process uses, `process/memory` (resident bytes) and then `process/cpu` (seconds, user and system), comes every
second, changed or not: who measures takes its arrival for its time. The core cannot know it and asks `Broker.process`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from broker.core.message import ApplicationMessage

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.stats import TransportStats

ROOT = "$SYS/broker/"
PROCESS_INTERVAL: Final = 1.0  # seconds
_MINUTES = (1, 5, 15)


class Load:
    """Moving averages of one counter, per minute."""

    def __init__(self) -> None:
        self.last = 0
        self.averages = [0.0, 0.0, 0.0]

    def update(self, count: int, seconds: float) -> None:
        """`count` is the counter's value now, `seconds` the time since the last update."""
        per_minute = (count - self.last) * 60.0 / seconds
        self.last = count
        for at, minutes in enumerate(_MINUTES):
            weight = math.exp(-seconds / (60.0 * minutes))
            self.averages[at] = per_minute + weight * (self.averages[at] - per_minute)


class SysTopics:
    """Publishes into one Broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.started_at = 0.0
        self._last_update = 0.0
        self._loads: dict[str, Load] = {}
        self._published: dict[str, str] = {}

    def update(self, now: float) -> None:
        """Publish what has changed since the last time."""
        values = self.values(now)
        for topic, value in values.items():
            if self._published.get(topic, "") != value:
                self._published[topic] = value
                self._publish(topic, value, now)
        self._last_update = now

    def tell_process(self, cpu: float, memory: int, now: float) -> None:
        """Publish what the process has used: `cpu` seconds, and `memory` bytes, 0 where that is not known."""
        if memory:
            self._publish("process/memory", str(memory), now)
        self._publish("process/cpu", f"{cpu:.6f}", now)

    def tell_store(self, state: str, now: float) -> None:
        """Publish whether the Store has room: "ok" or "full", when it changes too."""
        self._published["store/state"] = state
        self._publish("store/state", state, now)

    def tell_memory(self, state: str, now: float) -> None:
        """Publish whether the process is within `server.memory`: "ok" or "full", when it changes too."""
        self._published["process/memory/state"] = state
        self._publish("process/memory/state", state, now)

    def _publish(self, topic: str, value: str, now: float) -> None:
        self._broker.publish(ApplicationMessage(ROOT + topic, value.encode(), 0, 0, True), None, now)

    def values(self, now: float) -> dict[str, str]:
        """Topic below `$SYS/broker/` to value."""
        broker = self._broker
        stats = broker.stats
        total = stats.total()
        disconnected = len(broker.sessions) - stats.clients_connected
        result = {
            "version": f"TrioMQ version {broker.version}".strip(),
            "uptime": f"{int(now - self.started_at)} seconds",
            "clients/total": str(len(broker.sessions)),
            "clients/connected": str(stats.clients_connected),
            "clients/active": str(stats.clients_connected),
            "clients/disconnected": str(disconnected),
            "clients/inactive": str(disconnected),
            "clients/maximum": str(stats.clients_maximum),
            "clients/over rate": str(stats.over_rate),
            "clients/expired": str(stats.clients_expired),
            "clients/banned": str(broker.flapping.now_banned(now)),
            "clients/expelled": str(stats.clients_expelled),
            "clients/takeovers": str(stats.takeovers),
            "clients/takeover storm": broker.takeovers.named,
            "subscriptions/count": str(stats.subscriptions),
            "subscriptions/bytes": str(broker.subscriptions.bytes),
            "subscriptions/refused": str(stats.subscriptions_refused),
            "shared_subscriptions/count": str(stats.shared_subscriptions),
            "retained messages/count": str(broker.retained.count),
            "retained messages/taken out": str(stats.retained_taken_out),
            "messages/stored": str(broker.retained.count + stats.queued_messages),
            "store/messages/count": str(broker.retained.count + stats.queued_messages),
            "store/messages/bytes": str(broker.retained.bytes + stats.queued_bytes),
            "connections/refused/sessions_per_user": str(stats.owners_refused),
            "connections/refused/flapping": str(broker.flapping.refused),
            "publish/messages/dropped": str(stats.publish_dropped),
        }
        result["connections/handshakes"] = str(stats.handshakes)
        for name, count in stats.turned_away.items():
            result[f"connections/refused/{name}"] = str(count)
        for name, count in stats.kept_waiting.items():
            result[f"connections/paused/{name}"] = str(count)
        if broker.journal is not None:
            result["store/state"] = "full" if broker.journal.full else "ok"
            result["store/commits"] = str(broker.journal.committed)
        if broker.limits.memory:
            result["process/memory/state"] = "full" if broker.memory_full else "ok"
        result.update(_counters(total))
        for name, each in stats.by_transport.items():
            prefix = f"transport/{name}/"
            result[prefix + "connections"] = str(each.connections)
            for topic, value in _counters(each).items():
                result[prefix + topic] = value
            for kind, by_qos in each.latency.figures(now).items():
                for qos, figures in by_qos.items():
                    _add_figures(result, f"{kind}/{name}/{qos}/", figures)
        if stats.loop_lag.used:
            _add_figures(result, "latency/loop/", stats.loop_lag.recent(now).figures())
        self._add_loads(result, total, now)
        return result

    def _add_loads(self, result: dict[str, str], total: TransportStats, now: float) -> None:
        seconds = now - self._last_update
        counters = {
            "messages/received": total.messages_received,
            "messages/sent": total.messages_sent + total.publish_sent,
            "publish/received": total.publish_received,
            "publish/sent": total.publish_sent,
            "publish/dropped": self._broker.stats.publish_dropped,
            "bytes/received": total.bytes_received,
            "bytes/sent": total.bytes_sent,
            "sockets": total.accepted,
            "connections": total.connects,
        }
        for name, count in counters.items():
            load = self._loads.get(name)
            if load is None:
                load = self._loads[name] = Load()
            if self._last_update and seconds > 0:
                load.update(count, seconds)
            for minutes, average in zip(_MINUTES, load.averages, strict=True):
                result[f"load/{name}/{minutes}min"] = f"{average:.2f}"


def _add_figures(result: dict[str, str], prefix: str, figures: dict[str, float]) -> None:
    for name in ("p50", "p99", "max"):
        result[prefix + name] = f"{figures[f'{name}_ms']:.3f}"


def _counters(stats: TransportStats) -> dict[str, str]:
    return {
        "messages/received": str(stats.messages_received),
        "messages/sent": str(stats.messages_sent + stats.publish_sent),
        "publish/messages/received": str(stats.publish_received),
        "publish/messages/sent": str(stats.publish_sent),
        "publish/bytes/received": str(stats.publish_bytes_received),
        "publish/bytes/sent": str(stats.publish_bytes_sent),
        "bytes/received": str(stats.bytes_received),
        "bytes/sent": str(stats.bytes_sent),
    }
